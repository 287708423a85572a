#include "site_agent/imaging/volume.h"

#include <algorithm>
#include <cmath>

namespace consilium::imaging {
namespace {

std::array<double, 3> VoxelCentre(const Geometry& grid, const std::array<double, 3>& index_xyz) {
  std::array<double, 3> point = grid.origin_lps_mm;
  for (int row = 0; row < 3; ++row) {
    for (int axis = 0; axis < 3; ++axis) {
      point[row] += grid.direction[3 * row + axis] * index_xyz[axis] * grid.spacing_xyz_mm[axis];
    }
  }
  return point;
}

}  // namespace

bool SameGrid(const Geometry& a, const Geometry& b, double tolerance_voxels) {
  if (a.size_xyz != b.size_xyz) return false;
  const double spacing_min =
      std::min(*std::min_element(a.spacing_xyz_mm.begin(), a.spacing_xyz_mm.end()),
               *std::min_element(b.spacing_xyz_mm.begin(), b.spacing_xyz_mm.end()));
  const double limit = tolerance_voxels * spacing_min;
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> index_xyz;
    for (int axis = 0; axis < 3; ++axis) {
      index_xyz[axis] = (corner >> axis & 1) ? static_cast<double>(a.size_xyz[axis] - 1) : 0.0;
    }
    const std::array<double, 3> at_a = VoxelCentre(a, index_xyz);
    const std::array<double, 3> at_b = VoxelCentre(b, index_xyz);
    const double apart = std::hypot(at_a[0] - at_b[0], at_a[1] - at_b[1], at_a[2] - at_b[2]);
    // Written so that NaN counts as different.
    if (!(apart < limit)) return false;
  }
  return true;
}

}  // namespace consilium::imaging
