#include "site_agent/imaging/grid_index.h"

#include <cmath>

namespace consilium::imaging {

std::array<double, 3> VoxelVector(const Geometry& grid, const std::array<double, 3>& lps_mm) {
  std::array<double, 3> voxels = {0, 0, 0};
  for (int axis = 0; axis < 3; ++axis) {
    for (int row = 0; row < 3; ++row) voxels[axis] += grid.direction[3 * row + axis] * lps_mm[row];
    voxels[axis] /= grid.spacing_xyz_mm[axis];
  }
  return voxels;
}

std::array<double, 3> VoxelOf(const Geometry& grid, const std::array<double, 3>& point_lps_mm) {
  std::array<double, 3> offset = point_lps_mm;
  for (int i = 0; i < 3; ++i) offset[i] -= grid.origin_lps_mm[i];
  return VoxelVector(grid, offset);
}

std::optional<std::array<int64_t, 3>> WholeVoxels(const std::array<double, 3>& voxels,
                                                  double tolerance) {
  std::array<int64_t, 3> whole;
  for (int axis = 0; axis < 3; ++axis) {
    if (!(std::abs(voxels[axis]) < 1e9)) return std::nullopt;
    whole[axis] = std::llround(voxels[axis]);
    if (std::abs(voxels[axis] - static_cast<double>(whole[axis])) > tolerance) return std::nullopt;
  }
  return whole;
}

}  // namespace consilium::imaging
