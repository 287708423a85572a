// Reference labels from a DICOM RT Structure Set: contours in millimetres, made into voxels.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_STRUCTURE_SET_H_
#define CONSILIUM_SITE_AGENT_IMAGING_STRUCTURE_SET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "site_agent/imaging/label_segments.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

struct StructureSet {
  std::string frame_of_reference_uid;  // of its ROIs; identifies. Empty: not said
  std::vector<LabelSegment> segments;  // ROIs with closed contours, by their place in the file
  int64_t rois_without_area = 0;       // points, open lines or nothing
};

// Contours are in mm, LPS (PS3.3 C.8.8.6). A contour inside another of its ROI and plane is a hole
// (even-odd); planes without a contour stay empty; a voxel counts when its centre is inside.
// Contours lie in planes of the grid, along any of its axes, one axis for each ROI.
// INVALID_ARGUMENT: broken file; a contour that lies more than 0.1 voxel off the planes of the grid
// (the words give the distance) or outside of it; ROIs of several frames of reference; a volume
// that the voxels do not keep, as contours that cross themselves make it. RESOURCE_EXHAUSTED: more
// masks or contour points than can be held.
absl::StatusOr<StructureSet> ReadStructureSet(const std::string& path, const Geometry& grid);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_STRUCTURE_SET_H_
