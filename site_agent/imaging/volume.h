// A scalar volume and its place in the patient, the value that every imaging step takes and gives.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_VOLUME_H_
#define CONSILIUM_SITE_AGENT_IMAGING_VOLUME_H_

#include <array>
#include <cstdint>
#include <vector>

namespace consilium::imaging {

// Voxel (i, j, k) has its centre at origin + direction * (i*spacing_x, j*spacing_y, k*spacing_z),
// in DICOM patient coordinates (LPS, mm; PS3.3 C.7.6.2.1.1).
struct Geometry {
  std::array<int64_t, 3> size_xyz = {0, 0, 0};
  std::array<double, 3> spacing_xyz_mm = {1, 1, 1};
  std::array<double, 3> origin_lps_mm = {0, 0, 0};
  // Row-major 3x3; column a is the unit vector of axis a.
  std::array<double, 9> direction = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  int64_t voxels() const { return size_xyz[0] * size_xyz[1] * size_xyz[2]; }
};

// True when both name the same voxel centres: same size, corners apart by less than
// `tolerance_voxels` of the smallest spacing.
bool SameGrid(const Geometry& a, const Geometry& b, double tolerance_voxels = 0.1);

// x runs fastest: index = i + size_x * (j + size_y * k). Read as [D][H][W] it is z, y, x.
template <typename T>
struct VolumeOf {
  Geometry geometry;
  std::vector<T> voxels;
};
using Volume = VolumeOf<float>;         // intensities after rescale, in the modality's unit
using LabelVolume = VolumeOf<uint8_t>;  // 0 background

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_VOLUME_H_
