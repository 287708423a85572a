#include "privacy/dp/site_noise.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kGridStepsMax = 0x1p50;
constexpr int kRoundingsMax = 100;  // the last of them with a probability of beta^100
constexpr size_t kPiece = 1024;

double SquaredNorm(absl::Span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

// Rounds update * scale up or down at random; returns the squared norm in grid steps.
double RoundAtRandom(absl::Span<const float> update, double scale, RandomStream& random,
                     absl::Span<int64_t> out) {
  double squares = 0;
  for (size_t i = 0; i < update.size(); ++i) {
    const double value = update[i] * scale;
    const double below = std::floor(value);
    const double uniform = static_cast<double>(random.Next() >> 11) * 0x1p-53;
    const double rounded = below + (uniform < value - below ? 1 : 0);
    squares += rounded * rounded;
    out[i] = static_cast<int64_t>(rounded);
  }
  return squares;
}

}  // namespace

SiteNoise::SiteNoise(const DistributedSetting& setting,
                     std::variant<DiscreteGaussian, Skellam> noise)
    : setting_(setting), noise_(std::move(noise)) {}

absl::StatusOr<SiteNoise> SiteNoise::Create(const DistributedSetting& setting) {
  CSL_RETURN_IF_ERROR(CheckSetting(setting));
  if (setting.clip / setting.grid > kGridStepsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("clip ", setting.clip, ": too many grid steps of ", setting.grid));
  }
  const double steps = LocalSigma(setting) / setting.grid;
  if (setting.mechanism == DistributedMechanism::kSkellam) {
    CSL_ASSIGN_OR_RETURN(Skellam noise, Skellam::Create(steps * steps));
    return SiteNoise(setting, std::move(noise));
  }
  CSL_ASSIGN_OR_RETURN(DiscreteGaussian noise, DiscreteGaussian::Create(steps));
  return SiteNoise(setting, std::move(noise));
}

absl::Status SiteNoise::Encode(absl::Span<const float> update, RandomStream& random,
                               absl::Span<int64_t> out) const {
  if (update.size() != static_cast<size_t>(setting_.dimensions) || out.size() != update.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("an update of ", update.size(), " values, not ", setting_.dimensions));
  }
  const double norm = std::sqrt(SquaredNorm(update));
  if (!std::isfinite(norm)) return absl::InvalidArgumentError("an update is not finite");
  // A little more than to the clip, for the rounding of the products.
  const double scale =
      (norm > setting_.clip ? setting_.clip / norm * (1 - 1e-9) : 1.0) / setting_.grid;
  const double bound =
      RoundedSensitivity(setting_.clip, setting_.grid, setting_.dimensions, setting_.beta) /
      setting_.grid;
  int rounding = 0;
  while (RoundAtRandom(update, scale, random, out) > bound * bound * (1 - 1e-12) &&
         ++rounding < kRoundingsMax) {
  }
  if (rounding == kRoundingsMax) {
    // Towards zero never lengthens: biased, but within the bound whatever the update is.
    for (size_t i = 0; i < update.size(); ++i) out[i] = static_cast<int64_t>(update[i] * scale);
  }
  int64_t noise[kPiece];
  for (size_t begin = 0; begin < out.size(); begin += kPiece) {
    const absl::Span<int64_t> piece = out.subspan(begin, kPiece);
    const absl::Span<int64_t> values = absl::MakeSpan(noise, piece.size());
    std::visit([&](const auto& sampler) { sampler.Sample(random, values); }, noise_);
    for (size_t i = 0; i < piece.size(); ++i) piece[i] += values[i];
  }
  return absl::OkStatus();
}

}  // namespace consilium::dp
