#include "site_agent/imaging/slice_stack.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "proto/base/status.h"

namespace consilium::imaging {
namespace {

using Vec3 = std::array<double, 3>;

constexpr int64_t kVoxelsMax = int64_t{1} << 31;
// A series that a localizer strayed into: the stray slices are few and look another way.
constexpr double kLocalizerAngleCosMax = 0.94;  // about 20 degrees
constexpr size_t kLocalizerShare = 2;           // the main stack has at least this many times more

double Dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vec3 Cross(const Vec3& a, const Vec3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
Vec3 Scaled(const Vec3& a, double by) { return {a[0] * by, a[1] * by, a[2] * by}; }
Vec3 Minus(const Vec3& a, const Vec3& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
double Length(const Vec3& a) { return std::sqrt(Dot(a, a)); }
Vec3 Unit(const Vec3& a) { return Scaled(a, 1 / Length(a)); }
Vec3 AlongRow(const Slice& slice) {
  return {(*slice.orientation)[0], (*slice.orientation)[1], (*slice.orientation)[2]};
}
Vec3 AlongColumn(const Slice& slice) {
  return {(*slice.orientation)[3], (*slice.orientation)[4], (*slice.orientation)[5]};
}
Vec3 Normal(const Slice& slice) { return Cross(AlongRow(slice), AlongColumn(slice)); }

absl::Status Refuse(absl::string_view words) { return absl::InvalidArgumentError(words); }

bool IsSoundOrientation(const Slice& slice) {
  const Vec3 row = AlongRow(slice), column = AlongColumn(slice);
  return std::abs(Length(row) - 1) < kDirectionTolerance &&
         std::abs(Length(column) - 1) < kDirectionTolerance &&
         std::abs(Dot(row, column)) < kDirectionTolerance;
}

bool SameOrientation(const Slice& a, const Slice& b) {
  for (int i = 0; i < 6; ++i) {
    if (std::abs((*a.orientation)[i] - (*b.orientation)[i]) > kDirectionTolerance) return false;
  }
  return true;
}

bool SameSpacing(const Slice& a, const Slice& b) {
  for (int i = 0; i < 2; ++i) {
    const double first = (*a.pixel_spacing_mm)[i], second = (*b.pixel_spacing_mm)[i];
    if (std::abs(first - second) > kDirectionTolerance * first) return false;
  }
  return true;
}

absl::Status CheckPlane(const Slice& slice) {
  if (!slice.position_lps_mm) return Refuse("no ImagePositionPatient");
  if (!slice.orientation) return Refuse("no ImageOrientationPatient");
  if (!IsSoundOrientation(slice)) {
    return Refuse("ImageOrientationPatient is not two perpendicular unit vectors");
  }
  for (double mm : *slice.position_lps_mm) {
    if (std::abs(mm) > 1e6) return Refuse("ImagePositionPatient beyond a kilometre");
  }
  if (!slice.pixel_spacing_mm) return Refuse("no PixelSpacing");
  for (double mm : *slice.pixel_spacing_mm) {
    if (mm < 1e-6 || mm > 1e4) return Refuse("PixelSpacing out of range");
  }
  return absl::OkStatus();
}

absl::Status CheckUniform(const std::vector<Slice>& slices) {
  const Slice& first = slices.front();
  for (const Slice& slice : slices) {
    if (slice.modality != first.modality) return Refuse("slices of several modalities");
    if (slice.frame_of_reference_uid != first.frame_of_reference_uid) {
      return Refuse("slices of several frames of reference");
    }
    if (slice.format.rows != first.format.rows || slice.format.columns != first.format.columns) {
      return Refuse("slices of several matrix sizes");
    }
    if (!SameSpacing(slice, first)) return Refuse("slices of several pixel spacings");
    if (slice.format.darker_is_higher != first.format.darker_is_higher) {
      return Refuse("slices of several photometric interpretations");
    }
  }
  return absl::OkStatus();
}

// The mean, so that no slice's rounding decides; made orthonormal again.
std::array<double, 9> MeanDirection(const std::vector<Slice>& slices) {
  Vec3 row = {0, 0, 0}, column = {0, 0, 0};
  for (const Slice& slice : slices) {
    for (int i = 0; i < 3; ++i) {
      row[i] += (*slice.orientation)[i];
      column[i] += (*slice.orientation)[3 + i];
    }
  }
  row = Unit(row);
  column = Unit(Minus(column, Scaled(row, Dot(row, column))));
  const Vec3 normal = Cross(row, column);
  return {row[0], column[0], normal[0], row[1], column[1], normal[1], row[2], column[2], normal[2]};
}

Vec3 Column(const std::array<double, 9>& direction, int axis) {
  return {direction[axis], direction[3 + axis], direction[6 + axis]};
}

double Along(const Slice& slice, const Vec3& normal) { return Dot(*slice.position_lps_mm, normal); }

// The usual step, for telling "same position" from "next position". Gaps below this are the jitter
// of one position: a volume that comes twenty times has mostly those.
constexpr double kJitterMm = 0.01;

double UsualStep(const std::vector<Slice>& sorted, const Vec3& normal) {
  std::vector<double> gaps;
  for (size_t i = 1; i < sorted.size(); ++i) {
    const double gap = Along(sorted[i], normal) - Along(sorted[i - 1], normal);
    if (gap > kJitterMm) gaps.push_back(gap);
  }
  if (gaps.empty()) return 0;
  std::sort(gaps.begin(), gaps.end());
  return gaps[gaps.size() - 1 - gaps.size() / 4];
}

// The files may come in any order; equal input has to give equal output.
bool Before(const Slice& a, const Slice& b, const Vec3& normal) {
  const double at_a = Along(a, normal), at_b = Along(b, normal);
  if (at_a != at_b) return at_a < at_b;
  if (a.sop_instance_uid != b.sop_instance_uid) return a.sop_instance_uid < b.sop_instance_uid;
  if (a.frame != b.frame) return a.frame < b.frame;
  return a.path < b.path;
}

}  // namespace

absl::Status SetLocalizersAside(std::vector<Slice>& slices, std::vector<SetAside>& aside) {
  const auto localizers = std::count_if(slices.begin(), slices.end(),
                                        [](const Slice& slice) { return slice.is_localizer; });
  if (localizers > 0 && static_cast<size_t>(localizers) < slices.size()) {
    std::erase_if(slices, [](const Slice& slice) { return slice.is_localizer; });
    aside.push_back({localizers, "localizer images"});
  }
  for (const Slice& slice : slices) CSL_RETURN_IF_ERROR(CheckPlane(slice));

  std::vector<std::vector<Slice>> groups;
  for (Slice& slice : slices) {
    auto home = std::find_if(groups.begin(), groups.end(), [&](const std::vector<Slice>& group) {
      return SameOrientation(group.front(), slice);
    });
    if (home == groups.end()) home = groups.insert(groups.end(), std::vector<Slice>());
    home->push_back(std::move(slice));
  }
  const auto main =
      std::max_element(groups.begin(), groups.end(),
                       [](const auto& a, const auto& b) { return a.size() < b.size(); });
  size_t stray = 0;
  for (auto group = groups.begin(); group != groups.end(); ++group) {
    if (group == main) continue;
    const double cosine = std::abs(Dot(Normal(main->front()), Normal(group->front())));
    stray += group->size();
    if (cosine > kLocalizerAngleCosMax || stray * kLocalizerShare > main->size()) {
      return Refuse("slices of several orientations");
    }
  }
  if (stray > 0) {
    aside.push_back({static_cast<int64_t>(stray), "images of another orientation"});
  }
  slices = std::vector<Slice>(std::make_move_iterator(main->begin()),
                              std::make_move_iterator(main->end()));
  return absl::OkStatus();
}

absl::StatusOr<SliceStack> StackSlices(std::vector<Slice> slices) {
  SliceStack stack;
  CSL_RETURN_IF_ERROR(CheckUniform(slices));
  stack.direction = MeanDirection(slices);
  const Vec3 normal = Column(stack.direction, 2);
  std::sort(slices.begin(), slices.end(),
            [&](const Slice& a, const Slice& b) { return Before(a, b, normal); });
  const double same_mm = std::max(1e-4, kSamePositionTolerance * UsualStep(slices, normal));
  for (Slice& slice : slices) {
    const bool same =
        !stack.positions.empty() &&
        Along(slice, normal) - Along(stack.positions.back().front(), normal) < same_mm;
    if (!same) stack.positions.emplace_back();
    stack.positions.back().push_back(std::move(slice));
  }
  return stack;
}

absl::StatusOr<StackGeometry> MeasureStack(const std::vector<Slice>& ordered,
                                           const std::array<double, 9>& direction) {
  if (ordered.size() < 2) return Refuse("one slice is not a volume");
  const Vec3 normal = Column(direction, 2);
  std::vector<double> gaps;
  for (size_t k = 1; k < ordered.size(); ++k) {
    gaps.push_back(Along(ordered[k], normal) - Along(ordered[k - 1], normal));
  }
  std::vector<double> sorted = gaps;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  const double step = sorted[sorted.size() / 2];
  const Slice& first = ordered.front();
  const double lateral_free =
      0.05 * std::min((*first.pixel_spacing_mm)[0], (*first.pixel_spacing_mm)[1]);
  for (size_t k = 1; k < ordered.size(); ++k) {
    // Tilt first: it also changes the gaps along the normal.
    const Vec3 offset = Minus(*ordered[k].position_lps_mm, *first.position_lps_mm);
    const double along = Dot(offset, normal);
    const double lateral = Length(Minus(offset, Scaled(normal, along)));
    if (lateral > lateral_free + kDirectionTolerance * std::abs(along)) {
      return Refuse("slices shifted against each other in their plane (gantry tilt)");
    }
  }
  for (size_t k = 0; k < gaps.size(); ++k) {
    const double steps = gaps[k] / step;
    if (std::abs(steps - 1) <= kGapTolerance) continue;
    if (steps > 1.5 && std::abs(steps - std::round(steps)) < 0.05) {
      return Refuse(absl::StrFormat("%d missing after slice %d of %d",
                                    static_cast<int64_t>(std::round(steps)) - 1, k + 1,
                                    ordered.size()));
    }
    return Refuse(absl::StrFormat("unequal gaps: %.3f steps after slice %d of %d", steps, k + 1,
                                  ordered.size()));
  }
  Geometry geometry;
  geometry.size_xyz = {first.format.columns, first.format.rows,
                       static_cast<int64_t>(ordered.size())};
  if (geometry.size_xyz[0] * geometry.size_xyz[1] > kVoxelsMax / geometry.size_xyz[2]) {
    return absl::ResourceExhaustedError("a volume of more than 2^31 voxels");
  }
  const double length = Along(ordered.back(), normal) - Along(first, normal);
  geometry.spacing_xyz_mm = {(*first.pixel_spacing_mm)[1], (*first.pixel_spacing_mm)[0],
                             length / static_cast<double>(ordered.size() - 1)};
  geometry.origin_lps_mm = *first.position_lps_mm;
  geometry.direction = direction;
  StackGeometry measured{geometry};
  for (const double gap : gaps) {
    measured.step_spread_mm =
        std::max(measured.step_spread_mm, std::abs(gap - geometry.spacing_xyz_mm[2]));
  }
  return measured;
}

}  // namespace consilium::imaging
