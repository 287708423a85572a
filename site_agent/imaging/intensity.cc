#include "site_agent/imaging/intensity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"

namespace consilium::imaging {
namespace {

// Mean and population standard deviation.
std::array<double, 2> Moments(const std::vector<float>& voxels) {
  double sum = 0;
  for (float voxel : voxels) sum += voxel;
  const double mean = sum / static_cast<double>(voxels.size());
  double squares = 0;
  for (float voxel : voxels) squares += (voxel - mean) * (voxel - mean);
  return {mean, std::sqrt(squares / static_cast<double>(voxels.size()))};
}

// Linear between the two nearest ranks, as numpy.percentile.
double Percentile(std::vector<float> voxels, double percent) {
  const double rank = percent / 100 * static_cast<double>(voxels.size() - 1);
  const auto low = static_cast<std::ptrdiff_t>(rank);
  std::nth_element(voxels.begin(), voxels.begin() + low, voxels.end());
  const double at_low = voxels[static_cast<size_t>(low)];
  if (low + 1 == static_cast<std::ptrdiff_t>(voxels.size())) return at_low;
  const double at_high = *std::min_element(voxels.begin() + low + 1, voxels.end());
  return at_low + (rank - static_cast<double>(low)) * (at_high - at_low);
}

// What becomes 0 and what becomes 1, of the scales that have ends.
std::array<double, 2> EndsOf(const wire::Normalisation& how, const std::vector<float>& voxels) {
  if (how.scale == wire::Normalisation::Scale::kPercentile) {
    return {Percentile(voxels, how.percentiles[0]), Percentile(voxels, how.percentiles[1])};
  }
  if (how.window) return *how.window;
  const auto [low, high] = std::minmax_element(voxels.begin(), voxels.end());
  return {*low, *high};
}

}  // namespace

void CutToWindow(const wire::Normalisation& how, std::vector<float>& voxels) {
  if (!how.window) return;
  const auto low = static_cast<float>((*how.window)[0]);
  const auto high = static_cast<float>((*how.window)[1]);
  for (float& voxel : voxels) voxel = std::clamp(voxel, low, high);
}

absl::StatusOr<IntensityScale> IntensityScale::Fit(const wire::Normalisation& how,
                                                   const std::vector<float>& voxels) {
  double zero = 0, span = 0;
  Ends ends = Ends::kOpen;
  if (how.scale == wire::Normalisation::Scale::kZScore) {
    const auto [mean, deviation] = Moments(voxels);
    zero = mean;
    span = deviation;
  } else {
    const auto [low, high] = EndsOf(how, voxels);
    zero = low;
    span = high - low;
    ends = Ends::kCut;
  }
  if (!(span > 1e-12 * std::max(1.0, std::abs(zero)))) {
    return absl::InvalidArgumentError("all voxels are equal");
  }
  return IntensityScale(zero, span, ends);
}

void IntensityScale::Apply(std::vector<float>& voxels) const {
  if (ends_ == Ends::kOpen) {
    for (float& voxel : voxels) voxel = static_cast<float>((voxel - zero_) / span_);
    return;
  }
  for (float& voxel : voxels) {
    voxel = static_cast<float>(std::clamp((voxel - zero_) / span_, 0.0, 1.0));
  }
}

}  // namespace consilium::imaging
