#include "privacy/dp/distributed.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/dp/local_noise.h"
#include "privacy/dp/monotone_search.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr int64_t kSitesMax = 1 << 20;
constexpr double kNoiseTolerance = 1e-4;

// How far the sum of discrete Gaussians is from one discrete Gaussian, a coordinate.
double Tau(double local_sigma_steps, int64_t sites) {
  double sum = 0;
  for (int64_t k = 1; k < sites; ++k) {
    const auto share = static_cast<double>(k) / static_cast<double>(k + 1);
    sum += std::exp(-2 * M_PI * M_PI * local_sigma_steps * local_sigma_steps * share);
  }
  return 10 * sum;
}

// rdp(a) of one round, a growing function of a; `setting` is checked.
class RoundDivergence {
 public:
  explicit RoundDivergence(const DistributedSetting& setting)
      : mechanism_(setting.mechanism), dimensions_(static_cast<double>(setting.dimensions)) {
    const double sensitivity =
        RoundedSensitivity(setting.clip, setting.grid, setting.dimensions, setting.beta);
    const double sigma = setting.noise_multiplier * setting.clip;
    ratio_ = sensitivity / sigma;
    tau_ = Tau(LocalSigma(setting) / setting.grid, setting.sites);
    delta2_ = sensitivity / setting.grid;
    variance_ = (sigma / setting.grid) * (sigma / setting.grid);
  }

  double At(double order) const {
    const double gaussian = order * ratio_ * ratio_ / 2;
    if (mechanism_ == DistributedMechanism::kDiscreteGaussian) {
      const double shifted = ratio_ + std::sqrt(dimensions_) * tau_;
      return std::min(gaussian + tau_ * dimensions_, order / 2 * shifted * shifted);
    }
    const double delta1 = std::min(std::sqrt(dimensions_) * delta2_, delta2_ * delta2_);
    return gaussian + std::min(((2 * order - 1) * delta2_ * delta2_ + 6 * delta1) /
                                   (4 * variance_ * variance_),
                               3 * delta1 / (2 * variance_));
  }

 private:
  DistributedMechanism mechanism_;
  double dimensions_;
  double ratio_;  // sensitivity / standard deviation of the sum of t shares
  double tau_;
  double delta2_;    // in grid steps
  double variance_;  // of the sum of t shares, in grid steps squared
};

}  // namespace

absl::Status CheckSetting(const DistributedSetting& setting) {
  CSL_RETURN_IF_ERROR(
      CheckPart({.noise_multiplier = setting.noise_multiplier, .steps = setting.rounds}));
  // Bounds that no sum below overflows with.
  for (const double value : {setting.clip, setting.grid}) {
    if (!(value >= 1e-30 && value <= 1e30)) {
      return absl::InvalidArgumentError(
          absl::StrCat("clip ", setting.clip, ", grid ", setting.grid));
    }
  }
  if (!(setting.beta > 0 && setting.beta < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("beta ", setting.beta, ": not in (0, 1)"));
  }
  if (setting.dimensions < 1 || setting.dimensions > kDimensionsMax) {
    return absl::InvalidArgumentError(absl::StrCat(setting.dimensions, " dimensions"));
  }
  if (setting.threshold < 1 || setting.threshold > setting.sites || setting.sites > kSitesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("threshold ", setting.threshold, " of ", setting.sites, " sites"));
  }
  return absl::OkStatus();
}

double RoundedSensitivity(double clip, double grid, int64_t dimensions, double beta) {
  const double diagonal = grid * std::sqrt(static_cast<double>(dimensions));
  const double always = (clip + diagonal) * (clip + diagonal);
  const double mostly = clip * clip + diagonal * diagonal / 4 +
                        std::sqrt(-2 * std::log(beta)) * grid * (clip + diagonal / 2);
  return std::sqrt(std::min(always, mostly));
}

double LocalSigma(const DistributedSetting& setting) {
  return setting.noise_multiplier * setting.clip /
         std::sqrt(static_cast<double>(setting.threshold));
}

absl::StatusOr<double> DistributedDivergence(const DistributedSetting& setting, double order) {
  CSL_RETURN_IF_ERROR(CheckSetting(setting));
  if (!(order > 1 && order <= kOrderMax)) {
    return absl::InvalidArgumentError(absl::StrCat("Renyi order ", order, ": not above 1"));
  }
  return static_cast<double>(setting.rounds) * RoundDivergence(setting).At(order);
}

absl::StatusOr<double> DistributedEpsilon(const DistributedSetting& setting, double delta,
                                          absl::Span<const double> orders) {
  CSL_RETURN_IF_ERROR(CheckSetting(setting));
  CSL_RETURN_IF_ERROR(CheckDelta(delta));
  if (setting.rounds == 0) return 0.0;
  const RoundDivergence round(setting);
  std::vector<double> divergences;
  for (const double order : orders) {
    divergences.push_back(static_cast<double>(setting.rounds) * round.At(order));
  }
  CSL_ASSIGN_OR_RETURN(const RdpEpsilon epsilon, EpsilonFromDivergence(orders, divergences, delta));
  return epsilon.epsilon;
}

absl::StatusOr<double> CalibrateDistributed(const DistributedSetting& setting,
                                            const PrivacyBudget& budget) {
  DistributedSetting tried = setting;
  tried.noise_multiplier = kNoiseMultiplierMax;
  CSL_RETURN_IF_ERROR(CheckSetting(tried));
  CSL_RETURN_IF_ERROR(CheckDelta(budget.delta));
  CSL_RETURN_IF_ERROR(CheckEpsilon(budget.epsilon));
  // In x = 1 / noise multiplier, with which epsilon grows.
  const auto epsilon = [&](double x) -> absl::StatusOr<double> {
    tried.noise_multiplier = 1 / x;
    return DistributedEpsilon(tried, budget.delta);
  };
  SearchPoint low{.x = 1 / kNoiseMultiplierMax};
  SearchPoint high{.x = 1 / kNoiseMultiplierMin};
  CSL_ASSIGN_OR_RETURN(low.value, epsilon(low.x));
  CSL_ASSIGN_OR_RETURN(high.value, epsilon(high.x));
  if (low.value > budget.epsilon) {
    return absl::OutOfRangeError(
        absl::StrCat("no noise is enough for epsilon ", budget.epsilon, " at this rounding"));
  }
  if (high.value <= budget.epsilon) return kNoiseMultiplierMin;
  CSL_ASSIGN_OR_RETURN(const double x,
                       LargestNotAbove(epsilon, low, high,
                                       {.target = budget.epsilon, .tolerance = kNoiseTolerance}));
  return 1 / x;
}

absl::StatusOr<int> LaneBits(const DistributedSetting& setting, double deviations,
                             double flatness) {
  CSL_RETURN_IF_ERROR(CheckSetting(setting));
  if (!(deviations > 0 && flatness > 0 && std::isfinite(deviations * flatness))) {
    return absl::InvalidArgumentError(absl::StrCat(deviations, " deviations, flatness ", flatness));
  }
  const auto sites = static_cast<double>(setting.sites);
  const double signal = setting.clip * sites;
  const double local = LocalSigma(setting);
  const double variance = flatness * signal * signal / static_cast<double>(setting.dimensions) +
                          (setting.grid * setting.grid / 4 + local * local) * sites;
  const double range = 2 * deviations * std::sqrt(variance) / setting.grid;
  return std::max(1, static_cast<int>(std::ceil(std::log2(range))));
}

double NoiseToSignal(double noise_multiplier, int64_t dimensions, int64_t sites) {
  return noise_multiplier * std::sqrt(static_cast<double>(dimensions)) / static_cast<double>(sites);
}

}  // namespace consilium::dp
