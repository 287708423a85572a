#include "site_agent/imaging/nifti_label.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/status.h"
#include "site_agent/imaging/grid_index.h"
#include "site_agent/imaging/nifti_file.h"

namespace consilium::imaging {
namespace {

constexpr int64_t kArrayVoxelsMax = int64_t{1} << 28;  // 2 GiB of doubles

absl::Status Refuse(absl::string_view words) { return absl::InvalidArgumentError(words); }

// Array axis a runs along grid axis `axis[a]`, from `start[axis]` by `sign[a]`.
struct ArrayPlace {
  std::array<int, 3> axis;
  std::array<int64_t, 3> sign;
  std::array<int64_t, 3> start;  // by grid axis
  double voxel_ml = 0;           // by the affine
};

// LPS is RAS with x and y turned round.
std::array<double, 3> PointAt(const NiftiAffine& ras, const std::array<double, 3>& index) {
  std::array<double, 3> point;
  for (size_t row = 0; row < 3; ++row) {
    point[row] = ras[row][3];
    for (size_t a = 0; a < 3; ++a) point[row] += ras[row][a] * index[a];
    if (row < 2) point[row] = -point[row];
  }
  return point;
}

double AffineVoxelMl(const NiftiAffine& m) {
  const double determinant = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
                             m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
                             m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  return std::abs(determinant) / 1000;
}

// The nearest place of the array on the grid, and how far its farthest corner is off it, in voxels.
std::optional<std::pair<ArrayPlace, double>> Nearest(const NiftiAffine& affine,
                                                     const std::array<int64_t, 3>& size,
                                                     const Geometry& grid) {
  const std::array<double, 3> origin = VoxelOf(grid, PointAt(affine, {0, 0, 0}));
  ArrayPlace place = {{-1, -1, -1}, {0, 0, 0}, {0, 0, 0}, AffineVoxelMl(affine)};
  std::array<bool, 3> used = {};
  for (size_t a = 0; a < 3; ++a) {
    std::array<double, 3> unit = {0, 0, 0};
    unit[a] = 1;
    std::array<double, 3> step = VoxelOf(grid, PointAt(affine, unit));
    for (size_t g = 0; g < 3; ++g) step[g] -= origin[g];
    size_t best = 0;
    for (size_t g = 1; g < 3; ++g) {
      if (std::abs(step[g]) > std::abs(step[best])) best = g;
    }
    if (used[best] || size[a] != grid.size_xyz[best]) return std::nullopt;
    used[best] = true;
    place.axis[a] = static_cast<int>(best);
    place.sign[a] = step[best] < 0 ? -1 : 1;
    place.start[best] = step[best] < 0 ? size[a] - 1 : 0;
  }
  double off = 0;
  for (int corner = 0; corner < 8; ++corner) {
    std::array<double, 3> index, wanted;
    for (size_t a = 0; a < 3; ++a) {
      const auto g = static_cast<size_t>(place.axis[a]);
      index[a] = (corner >> a & 1) != 0 ? static_cast<double>(size[a] - 1) : 0;
      wanted[g] =
          static_cast<double>(place.start[g]) + static_cast<double>(place.sign[a]) * index[a];
    }
    const std::array<double, 3> at = VoxelOf(grid, PointAt(affine, index));
    for (size_t g = 0; g < 3; ++g) off = std::max(off, std::abs(at[g] - wanted[g]));
  }
  return std::make_pair(place, off);
}

absl::StatusOr<ArrayPlace> PlaceOnGrid(const NiftiFile& file, const Geometry& grid) {
  if (!file.sform && !file.qform)
    return Refuse("neither sform nor qform says where the labels lie");
  double off_least = INFINITY;
  for (const std::optional<NiftiAffine>& affine : {file.sform, file.qform}) {
    if (!affine) continue;
    const auto nearest = Nearest(*affine, file.size, grid);
    if (!nearest) continue;
    if (nearest->second <= kLabelPlaceTolerance) return nearest->first;
    off_least = std::min(off_least, nearest->second);
  }
  if (off_least == INFINITY) return Refuse("another size or orientation than the image");
  return Refuse(absl::StrFormat("an affine that lies %.2f voxels off the image's", off_least));
}

// Whole numbers to the places of their segments.
absl::StatusOr<std::map<int64_t, size_t>> ValuesOf(const std::vector<double>& values) {
  std::map<int64_t, size_t> found;
  double last = 0;
  for (const double value : values) {
    if (value == last) continue;  // runs of one value are what label maps consist of
    if (!(value >= 0 && value <= 65535) || value != std::floor(value)) {
      return Refuse("values that are no whole numbers from 0 to 65535");
    }
    last = value;
    if (value > 0) found.emplace(static_cast<int64_t>(value), 0);
    if (found.size() > kSegmentsMax) return Refuse("too many values for labels");
  }
  if (found.empty()) return Refuse("no voxel is labelled");
  size_t next = 0;
  for (auto& [value, place] : found) place = next++;
  return found;
}

}  // namespace

absl::StatusOr<std::vector<LabelSegment>> ReadNiftiLabels(
    const std::string& path, const Geometry& grid, const std::map<int64_t, std::string>& names) {
  if (grid.voxels() > kArrayVoxelsMax) {
    return absl::ResourceExhaustedError("an image too large for NIfTI labels");
  }
  CSL_ASSIGN_OR_RETURN(const NiftiFile file, ReadNifti(path, grid.voxels()));
  CSL_ASSIGN_OR_RETURN(const ArrayPlace place, PlaceOnGrid(file, grid));
  CSL_ASSIGN_OR_RETURN(const auto values, ValuesOf(file.values));
  if (grid.voxels() > kSegmentVoxelsMax / static_cast<int64_t>(values.size())) {
    return absl::ResourceExhaustedError("more masks than can be held");
  }
  std::vector<LabelSegment> segments;
  for (const auto& [value, index] : values) {
    const auto name = names.find(value);
    segments.push_back({name != names.end() ? name->second : absl::StrCat("label ", value), "", "",
                        std::vector<bool>(static_cast<size_t>(grid.voxels())), 0, 0});
  }
  const std::array<int64_t, 3> stride = {1, grid.size_xyz[0], grid.size_xyz[0] * grid.size_xyz[1]};
  int64_t base = 0;
  std::array<int64_t, 3> step;
  for (size_t a = 0; a < 3; ++a) {
    const auto g = static_cast<size_t>(place.axis[a]);
    base += place.start[g] * stride[g];
    step[a] = place.sign[a] * stride[g];
  }
  const double source_ml = place.voxel_ml, grid_ml = VoxelMl(grid);
  size_t at = 0;
  for (int64_t k = 0; k < file.size[2]; ++k) {
    for (int64_t j = 0; j < file.size[1]; ++j) {
      for (int64_t i = 0; i < file.size[0]; ++i, ++at) {
        const double value = file.values[at];
        if (value == 0) continue;
        LabelSegment& segment = segments[values.at(static_cast<int64_t>(value))];
        segment.mask[static_cast<size_t>(base + i * step[0] + j * step[1] + k * step[2])] = true;
        segment.source_ml += source_ml;
        segment.grid_ml += grid_ml;
      }
    }
  }
  return segments;
}

}  // namespace consilium::imaging
