// Reference labels from DICOM SEG, on the image's own grid.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_LABEL_READER_H_
#define CONSILIUM_SITE_AGENT_IMAGING_LABEL_READER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/imaging/label_segments.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// Reads the segments of the SEG file that match a label of the plan (segment label equal to the
// name, or property type code value equal to the code, letter case ignored) onto `grid`. BINARY,
// FRACTIONAL from half of the maximum, or a label map; see SegObject for what frames may be. Where
// segments overlap the higher label wins. INVALID_ARGUMENT: broken file, frames that are no planes
// of the grid. NOT_FOUND: a label of the plan has no segment in the file (the message names the
// label).
absl::StatusOr<LabelVolume> ReadSegmentation(const std::string& path, const Geometry& grid,
                                             const std::vector<wire::PlanLabel>& labels);

// All segments of the SEG file, by their place in it. RESOURCE_EXHAUSTED: more masks than
// kSegmentVoxelsMax. Else errors as above.
absl::StatusOr<std::vector<LabelSegment>> ReadSegments(const std::string& path,
                                                       const Geometry& grid);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_LABEL_READER_H_
