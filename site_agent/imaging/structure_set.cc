#include "site_agent/imaging/structure_set.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/grid_index.h"
#include "site_agent/imaging/polygon_fill.h"

namespace consilium::imaging {
namespace {

// Contours of one ROI in one plane, and all its planes by index along the axis.
using Planes = std::map<int64_t, std::vector<Polygon>>;
using Contour = std::vector<std::array<double, 3>>;  // in voxels of the grid

constexpr size_t kContourPointsMax = 20'000'000;  // of one file
constexpr size_t kContourWorkMax = 100'000'000;   // contours times points of one plane
constexpr double kVoxelReachMax = 1e6;            // a contour's coordinates, in voxels

absl::Status Refuse(absl::string_view words) { return absl::InvalidArgumentError(words); }

bool IsClosed(DcmItem& contour) {
  const std::string type = Text(contour, DCM_ContourGeometricType);
  return type == "CLOSED_PLANAR" || type == "CLOSEDPLANAR_XOR";
}

absl::StatusOr<Contour> ReadContour(DcmItem& item, const Geometry& grid) {
  const std::vector<double> numbers = Numbers(item, DCM_ContourData);
  if (numbers.empty() || numbers.size() % 3 != 0) {
    return Refuse("a contour whose points are no triples of numbers");
  }
  const std::optional<double> count = Number(item, DCM_NumberOfContourPoints);
  if (count && *count * 3 != static_cast<double>(numbers.size())) {
    return Refuse("a contour of another number of points than it says");
  }
  Contour contour;
  for (size_t i = 0; i < numbers.size(); i += 3) {
    contour.push_back(VoxelOf(grid, {numbers[i], numbers[i + 1], numbers[i + 2]}));
    for (const double at : contour.back()) {
      if (!(std::abs(at) < kVoxelReachMax)) return Refuse("a contour far outside the image");
    }
  }
  return contour;
}

double Spread(const Contour& contour, int axis) {
  double low = contour.front()[axis], high = low;
  for (const auto& point : contour) {
    low = std::min(low, point[axis]);
    high = std::max(high, point[axis]);
  }
  return high - low;
}

// The axis across which the ROI's contours lie: that along which they spread least.
int AxisOf(const std::vector<Contour>& contours) {
  std::array<double, 3> spread = {0, 0, 0};
  for (const Contour& contour : contours) {
    for (int axis = 0; axis < 3; ++axis) spread[axis] += Spread(contour, axis);
  }
  // Ties (contours of a single point) go to the image's own slices.
  int best = 2;
  for (int axis : {1, 0}) {
    if (spread[axis] < spread[best]) best = axis;
  }
  return best;
}

absl::StatusOr<int64_t> PlaneOf(const Contour& contour, int axis, const Geometry& grid) {
  if (Spread(contour, axis) > 2 * kLabelPlaceTolerance) {
    return Refuse("a contour that does not lie in a plane of the image's voxels");
  }
  double mean = 0;
  for (const auto& point : contour) mean += point[axis] / static_cast<double>(contour.size());
  const double off = std::abs(mean - std::round(mean));
  if (off > kLabelPlaceTolerance) {
    return Refuse(absl::StrFormat("a contour between two slices: %.2f voxels off", off));
  }
  const auto plane = static_cast<int64_t>(std::llround(mean));
  if (plane < 0 || plane >= grid.size_xyz[axis]) return Refuse("a contour outside the image");
  return plane;
}

// Which contours lie inside which is asked of each pair.
absl::Status CheckWork(const std::vector<Polygon>& polygons) {
  size_t points = 0;
  for (const Polygon& polygon : polygons) points += polygon.size();
  if (points <= kContourWorkMax / polygons.size()) return absl::OkStatus();
  return absl::ResourceExhaustedError("more contours in one plane than can be compared");
}

// One ROI, from its contours to its mask and volumes.
absl::Status Rasterise(const std::vector<Contour>& contours, const Geometry& grid,
                       LabelSegment& segment) {
  const int axis = AxisOf(contours);
  const int axis_u = axis == 0 ? 1 : 0, axis_v = axis == 2 ? 1 : 2;
  Planes planes;
  for (const Contour& contour : contours) {
    CSL_ASSIGN_OR_RETURN(const int64_t plane, PlaneOf(contour, axis, grid));
    Polygon& polygon = planes[plane].emplace_back();
    for (const auto& point : contour) polygon.push_back({point[axis_u], point[axis_v]});
  }
  const std::array<int64_t, 3> stride = {1, grid.size_xyz[0], grid.size_xyz[0] * grid.size_xyz[1]};
  double area = 0, perimeter = 0;
  int64_t voxels = 0;
  for (const auto& [plane, polygons] : planes) {
    CSL_RETURN_IF_ERROR(CheckWork(polygons));
    area += EvenOddArea(polygons);
    perimeter += Perimeter(polygons);
    const int64_t base = plane * stride[axis];
    CSL_RETURN_IF_ERROR(FillEvenOdd(
        polygons, grid.size_xyz[axis_u], grid.size_xyz[axis_v], [&](int64_t u, int64_t v) {
          segment.mask[static_cast<size_t>(base + u * stride[axis_u] + v * stride[axis_v])] = true;
          ++voxels;
        }));
  }
  segment.source_ml = area * VoxelMl(grid);
  segment.grid_ml = static_cast<double>(voxels) * VoxelMl(grid);
  if (area < 0) return Refuse("contours of one plane that cross each other");
  // Centres decide over whole voxels, so a border of length p changes at most about p voxels.
  if (std::abs(static_cast<double>(voxels) - area) > perimeter + 1) {
    return Refuse(absl::StrFormat("contours of %.2f ml that fill %.2f ml of voxels",
                                  segment.source_ml, segment.grid_ml));
  }
  return absl::OkStatus();
}

class Reader {
 public:
  Reader(DcmDataset& dataset, const Geometry& grid) : dataset_(dataset), grid_(grid) {}

  absl::StatusOr<StructureSet> Read() {
    CSL_RETURN_IF_ERROR(ReadContours());
    CSL_RETURN_IF_ERROR(ReadRois());
    if (out_.segments.empty()) return Refuse("no ROI with a closed contour");
    return std::move(out_);
  }

 private:
  absl::Status ReadContours() {
    size_t points = 0;
    for (DcmItem* item : SequenceItems(dataset_, DCM_ROIContourSequence)) {
      const std::optional<double> number = Number(*item, DCM_ReferencedROINumber);
      if (!number) return Refuse("contours that belong to no ROI");
      for (DcmItem* contour : SequenceItems(*item, DCM_ContourSequence)) {
        if (!IsClosed(*contour)) continue;
        CSL_ASSIGN_OR_RETURN(Contour read, ReadContour(*contour, grid_));
        points += read.size();
        if (points > kContourPointsMax) {
          return absl::ResourceExhaustedError("more contour points than can be held");
        }
        contours_[*number].push_back(std::move(read));
      }
    }
    if (contours_.size() > kSegmentsMax) return Refuse("too many ROIs");
    if (!contours_.empty() &&
        grid_.voxels() > kSegmentVoxelsMax / static_cast<int64_t>(contours_.size())) {
      return absl::ResourceExhaustedError("more masks than can be held");
    }
    return absl::OkStatus();
  }

  absl::Status ReadRois() {
    std::set<double> seen;
    for (DcmItem* roi : SequenceItems(dataset_, DCM_StructureSetROISequence)) {
      const std::optional<double> number = Number(*roi, DCM_ROINumber);
      if (!number) return Refuse("an ROI without a number");
      if (!seen.insert(*number).second) return Refuse("two ROIs of one number");
      const auto contours = contours_.find(*number);
      if (contours == contours_.end()) {
        ++out_.rois_without_area;
        continue;
      }
      CSL_RETURN_IF_ERROR(CheckFrame(Text(*roi, DCM_ReferencedFrameOfReferenceUID)));
      LabelSegment segment{Text(*roi, DCM_ROIName),
                           "",
                           "",
                           std::vector<bool>(static_cast<size_t>(grid_.voxels())),
                           0,
                           0};
      CSL_RETURN_IF_ERROR(Rasterise(contours->second, grid_, segment));
      out_.segments.push_back(std::move(segment));
    }
    return absl::OkStatus();
  }

  absl::Status CheckFrame(const std::string& uid) {
    if (out_.frame_of_reference_uid.empty()) out_.frame_of_reference_uid = uid;
    if (uid.empty() || uid == out_.frame_of_reference_uid) return absl::OkStatus();
    return Refuse("ROIs of several frames of reference");
  }

  DcmDataset& dataset_;
  const Geometry& grid_;
  std::map<double, std::vector<Contour>> contours_;  // by ROI number
  StructureSet out_;
};

}  // namespace

absl::StatusOr<StructureSet> ReadStructureSet(const std::string& path, const Geometry& grid) {
  CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  if (Text(*dataset, DCM_SOPClassUID) != kStructureSetStorageUid) {
    return Refuse("not a DICOM structure set");
  }
  return Reader(*dataset, grid).Read();
}

}  // namespace consilium::imaging
