#include "privacy/dp/local_noise.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/dp/sampled_gaussian.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kGridStepsMax = 0x1p50;
constexpr size_t kPiece = 1024;

}  // namespace

double NoiseGrid(double clip, double noise_multiplier, int64_t dimensions) {
  const double finest =
      std::min(noise_multiplier * clip, clip / std::sqrt(static_cast<double>(dimensions)));
  return std::exp2(std::floor(std::log2(finest)) - 10);
}

double SnappedSensitivity(double clip, double grid, int64_t dimensions) {
  return clip + grid * std::sqrt(static_cast<double>(dimensions));
}

double FloatSumSlack(double clip, int64_t contributions) {
  const auto count = static_cast<double>(std::max<int64_t>(0, contributions));
  return clip * 0x1p-24 * count * (count + 1);
}

LocalNoise::LocalNoise(double grid, double sensitivity, double sigma, DiscreteGaussian noise)
    : grid_(grid), sensitivity_(sensitivity), sigma_(sigma), noise_(std::move(noise)) {}

absl::StatusOr<LocalNoise> LocalNoise::Create(const LocalNoiseOptions& options) {
  CSL_RETURN_IF_ERROR(CheckPart({.noise_multiplier = options.noise_multiplier, .steps = 1}));
  if (!(options.clip > 0 && options.sum_slack >= 0 && std::isfinite(options.sum_slack))) {
    return absl::InvalidArgumentError(
        absl::StrCat("clip ", options.clip, ", slack ", options.sum_slack));
  }
  if (options.dimensions < 1 || options.dimensions > kDimensionsMax) {
    return absl::InvalidArgumentError(absl::StrCat(options.dimensions, " dimensions"));
  }
  const double grid = NoiseGrid(options.clip, options.noise_multiplier, options.dimensions);
  // Also refuses an infinite clip.
  if (!(grid >= 0x1p-120 && grid <= 0x1p60)) {
    return absl::InvalidArgumentError(
        absl::StrCat("clip ", options.clip, ": its grid is beyond float"));
  }
  const double sensitivity =
      SnappedSensitivity(options.clip, grid, options.dimensions) + options.sum_slack;
  const double sigma = options.noise_multiplier * sensitivity;
  CSL_ASSIGN_OR_RETURN(DiscreteGaussian noise, DiscreteGaussian::Create(sigma / grid));
  return LocalNoise(grid, sensitivity, sigma, std::move(noise));
}

absl::Status LocalNoise::AddTo(RandomStream& random, absl::Span<float> sum) const {
  const double limit = kGridStepsMax * grid_;
  for (const float value : sum) {
    if (!(std::abs(static_cast<double>(value)) <= limit)) {
      return absl::InvalidArgumentError("a gradient sum is not finite or too large for its clip");
    }
  }
  int64_t noise[kPiece];
  const double inverse = 1 / grid_;  // exact, as for every power of two
  for (size_t begin = 0; begin < sum.size(); begin += kPiece) {
    const absl::Span<float> piece = sum.subspan(begin, kPiece);
    noise_.Sample(random, absl::MakeSpan(noise, piece.size()));
    for (size_t i = 0; i < piece.size(); ++i) {
      const auto steps = static_cast<int64_t>(std::nearbyint(piece[i] * inverse));
      // The sum of the integers is what is released; rounding it to float comes after.
      piece[i] = static_cast<float>(static_cast<double>(steps + noise[i]) * grid_);
    }
  }
  return absl::OkStatus();
}

}  // namespace consilium::dp
