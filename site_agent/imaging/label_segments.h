// Reference labels of any source on the grid of their image, before a study's names are known.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_LABEL_SEGMENTS_H_
#define CONSILIUM_SITE_AGENT_IMAGING_LABEL_SEGMENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// Bounds the masks of one object: 8 GiB of bits would be a hostile file.
inline constexpr int64_t kSegmentVoxelsMax = int64_t{1} << 33;
inline constexpr size_t kSegmentsMax = 255;

// Privacy: `name` is the source's free text.
struct LabelSegment {
  std::string name;
  std::string code;         // of the segmented property type; may be empty
  std::string code_scheme;  // "SCT"
  std::vector<bool> mask;   // as VolumeOf::voxels; segments may overlap
  double source_ml = 0;     // volume as the source describes it
  double grid_ml = 0;       // volume of `mask`
};

// Millilitres of one voxel.
inline double VoxelMl(const Geometry& grid) {
  return grid.spacing_xyz_mm[0] * grid.spacing_xyz_mm[1] * grid.spacing_xyz_mm[2] / 1000;
}

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_LABEL_SEGMENTS_H_
