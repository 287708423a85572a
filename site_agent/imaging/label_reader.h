// Reference labels from DICOM SEG, on the image's own grid.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_LABEL_READER_H_
#define CONSILIUM_SITE_AGENT_IMAGING_LABEL_READER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// Reads the segments of the SEG file that match a label of the plan (segment label equal to the
// name, or property type code value equal to the code, letter case ignored) onto `grid`. Frames may
// be sparse, in any order and in the image's orientation (or any flip or permutation of its axes);
// a frame that lies on no slice of `grid` is an error. BINARY, or FRACTIONAL at half of the
// maximum. Where segments overlap the higher label wins. INVALID_ARGUMENT: broken file, other
// matrix or orientation. NOT_FOUND: a label of the plan has no segment in the file (the message
// names the label).
absl::StatusOr<LabelVolume> ReadSegmentation(const std::string& path, const Geometry& grid,
                                             const std::vector<wire::PlanLabel>& labels);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_LABEL_READER_H_
