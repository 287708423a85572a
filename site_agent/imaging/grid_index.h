// From millimetres in the patient to voxels of a grid.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_GRID_INDEX_H_
#define CONSILIUM_SITE_AGENT_IMAGING_GRID_INDEX_H_

#include <array>
#include <cstdint>
#include <optional>

#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// How far a label may lie off its image's voxels before it is refused, in voxels.
inline constexpr double kLabelPlaceTolerance = 0.1;

// Continuous index (i, j, k) of a point in LPS, mm; voxel centres are whole numbers.
std::array<double, 3> VoxelOf(const Geometry& grid, const std::array<double, 3>& point_lps_mm);
// The same for a difference of two points.
std::array<double, 3> VoxelVector(const Geometry& grid, const std::array<double, 3>& lps_mm);

// Rounds to whole voxels, or nothing where that changes a component by more than `tolerance`.
std::optional<std::array<int64_t, 3>> WholeVoxels(const std::array<double, 3>& voxels,
                                                  double tolerance);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_GRID_INDEX_H_
