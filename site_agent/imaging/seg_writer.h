// Writes a segmentation as a DICOM SEG object that files into the source's study.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SEG_WRITER_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SEG_WRITER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/wire/plan.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_segments.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

struct SegDescription {
  std::string model_version;  // "hippocampus/3"
  std::string model_digest;   // sha256 hex of the weights
  std::vector<wire::PlanLabel> labels;
  std::string uid_seed;  // same seed, same series: same UIDs (repeatable output)
};

// BINARY SEG (PS3.3 A.51), a frame per slice that holds the segment, on the grid of `source`;
// patient and study are copied from its first slice. Written atomically. A label that is absent
// from `mask` still gets its segment; when all are absent INVALID_ARGUMENT is not returned but one
// empty frame is written, so that "nothing found" is a valid object.
// The same input gives the same bytes: UIDs follow from seed, series and model, dates are those of
// the source.
// INVALID_ARGUMENT: mask is not on the source's grid, or holds a value that no label has.
// RESOURCE_EXHAUSTED: more bits than one object can hold (1.75 GiB).
absl::Status WriteSegmentation(const AssembledSeries& source, const LabelVolume& mask,
                               const SegDescription& description, const std::string& path);

// The same for reference labels of people: MANUAL segments, which may overlap. Needs no voxels in
// `source`. INVALID_ARGUMENT: no segments, or masks of another size than the grid.
absl::Status WriteReferenceLabels(const AssembledSeries& source,
                                  const std::vector<LabelSegment>& segments,
                                  const std::string& uid_seed, const std::string& path);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SEG_WRITER_H_
