#include "site_agent/imaging/seg_frame.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/grid_index.h"

namespace consilium::imaging {
namespace {

constexpr double kStepTolerance = 1e-3;  // of a voxel per pixel: orientation and spacing

absl::Status Refuse(absl::string_view words) { return absl::InvalidArgumentError(words); }

std::vector<double> FromGroup(DcmItem& groups, DcmItem* shared, const DcmTagKey& macro,
                              const DcmTagKey& key) {
  DcmItem* found = SequenceItem(groups, macro);
  if (found == nullptr && shared != nullptr) found = SequenceItem(*shared, macro);
  return found == nullptr ? std::vector<double>() : Numbers(*found, key);
}

absl::Status OffTheGrid(const std::array<double, 3>& voxels) {
  double off = 0;
  for (const double at : voxels) {
    if (!(std::abs(at) < 1e9)) return Refuse("a frame that lies on no slice of the image");
    off = std::max(off, std::abs(at - std::round(at)));
  }
  return Refuse(absl::StrFormat(
      "a frame that lies on no slice of the image: %.2f voxels off its voxels", off));
}

// A frame covers one plane of the grid exactly: each of its sides one axis, from end to end.
absl::Status CheckExtent(const FramePlace& place, int64_t rows, int64_t columns,
                         const Geometry& grid) {
  int row_axis = -1, column_axis = -1;
  for (int axis = 0; axis < 3; ++axis) {
    if (std::abs(place.along_row[axis]) == 1) row_axis = row_axis == -1 ? axis : -2;
    if (std::abs(place.along_column[axis]) == 1) column_axis = column_axis == -1 ? axis : -2;
    if (std::abs(place.along_row[axis]) > 1 || std::abs(place.along_column[axis]) > 1) {
      return Refuse("a frame of another pixel spacing than the image");
    }
  }
  if (row_axis < 0 || column_axis < 0 || row_axis == column_axis) {
    return Refuse("a frame of another orientation than the image");
  }
  if (grid.size_xyz[row_axis] != columns || grid.size_xyz[column_axis] != rows) {
    return Refuse("a frame of another matrix size than the image");
  }
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t last = place.base[axis] + place.along_row[axis] * (columns - 1) +
                         place.along_column[axis] * (rows - 1);
    if (std::min(place.base[axis], last) < 0 ||
        std::max(place.base[axis], last) >= grid.size_xyz[axis]) {
      return Refuse("a frame that lies on no slice of the image: outside of it");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FramePlace> LocateFrame(DcmItem& groups, DcmItem* shared, int64_t rows,
                                       int64_t columns, const Geometry& grid) {
  const std::vector<double> orientation =
      FromGroup(groups, shared, DCM_PlaneOrientationSequence, DCM_ImageOrientationPatient);
  const std::vector<double> position =
      FromGroup(groups, shared, DCM_PlanePositionSequence, DCM_ImagePositionPatient);
  if (orientation.size() != 6 || position.size() != 3) {
    return Refuse("a frame without position or orientation");
  }
  const std::vector<double> spacing =
      FromGroup(groups, shared, DCM_PixelMeasuresSequence, DCM_PixelSpacing);
  if (spacing.size() != 2) return Refuse("a frame without pixel spacing");
  std::array<double, 3> row_mm, column_mm, point_mm;
  for (int i = 0; i < 3; ++i) {
    row_mm[i] = orientation[i] * spacing[1];
    column_mm[i] = orientation[3 + i] * spacing[0];
    point_mm[i] = position[i];
  }
  const auto along_row = WholeVoxels(VoxelVector(grid, row_mm), kStepTolerance);
  const auto along_column = WholeVoxels(VoxelVector(grid, column_mm), kStepTolerance);
  if (!along_row || !along_column) {
    return Refuse("a frame of another orientation or pixel spacing than the image");
  }
  const std::array<double, 3> at = VoxelOf(grid, point_mm);
  const auto base = WholeVoxels(at, kLabelPlaceTolerance);
  if (!base) return OffTheGrid(at);
  const FramePlace place{*base, *along_row, *along_column};
  CSL_RETURN_IF_ERROR(CheckExtent(place, rows, columns, grid));
  return place;
}

}  // namespace consilium::imaging
