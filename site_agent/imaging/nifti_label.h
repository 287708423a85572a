// Reference labels from a NIfTI file, placed by its affine and never by the order of its array.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_NIFTI_LABEL_H_
#define CONSILIUM_SITE_AGENT_IMAGING_NIFTI_LABEL_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "site_agent/imaging/label_segments.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// Reads a label map (.nii or .nii.gz, NIfTI-1 or -2, either byte order) onto `grid`: one segment
// for each value but 0, by value, named by `names` or "label 7". The affine is the sform where it
// has a code, and else, or where the sform does not fit the grid, the qform; RAS is turned to LPS.
// Its voxels have to be those of the grid, in any flip or permutation of the axes.
// INVALID_ARGUMENT: broken file; no affine; an affine that is more than 0.1 voxel off the grid
// anywhere (the words give the distance); another size; values that are not whole, negative or more
// than kSegmentsMax of them. RESOURCE_EXHAUSTED: more masks than kSegmentVoxelsMax, or 2 GiB of
// array.
absl::StatusOr<std::vector<LabelSegment>> ReadNiftiLabels(
    const std::string& path, const Geometry& grid, const std::map<int64_t, std::string>& names);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_NIFTI_LABEL_H_
