#include "privacy/dp/calibrate.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/dp/monotone_search.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kNoiseTolerance = 1e-4;

// Searches in x = 1 / noise multiplier, with which epsilon grows.
class NoiseSearch {
 public:
  NoiseSearch(const PrivacyBudget& budget, double sampling_rate, int64_t steps,
              Accountant accountant, std::vector<SampledGaussian> spent)
      : budget_(budget), accountant_(accountant), parts_(std::move(spent)) {
    parts_.push_back({.sampling_rate = sampling_rate, .noise_multiplier = 1, .steps = steps});
  }

  absl::StatusOr<double> Smallest(double start) {
    SearchPoint low;
    SearchPoint high{.x = 1 / start};
    CSL_ASSIGN_OR_RETURN(high.value, Epsilon(high.x));
    double factor = 1.3;
    if (high.value > budget_.epsilon) {
      for (low = high; low.value > budget_.epsilon; factor *= factor) {
        if (low.x <= 1 / kNoiseMultiplierMax) {
          return absl::OutOfRangeError(
              absl::StrCat("no noise is enough for epsilon ", budget_.epsilon));
        }
        high = low;
        low.x = std::max(1 / kNoiseMultiplierMax, low.x / factor);
        CSL_ASSIGN_OR_RETURN(low.value, Epsilon(low.x));
      }
    } else {
      for (; high.value <= budget_.epsilon; factor *= factor) {
        if (high.x >= 1 / kNoiseMultiplierMin) return kNoiseMultiplierMin;
        low = high;
        high.x = std::min(1 / kNoiseMultiplierMin, high.x * factor);
        CSL_ASSIGN_OR_RETURN(high.value, Epsilon(high.x));
      }
    }
    const auto epsilon = [this](double x) { return Epsilon(x); };
    CSL_ASSIGN_OR_RETURN(
        const double x, LargestNotAbove(epsilon, low, high,
                                        {.target = budget_.epsilon, .tolerance = kNoiseTolerance}));
    return Noise(x);
  }

 private:
  // The value that was tried is the value that is returned, to the last bit.
  static double Noise(double x) {
    return std::clamp(1 / x, kNoiseMultiplierMin, kNoiseMultiplierMax);
  }
  absl::StatusOr<double> Epsilon(double x) {
    parts_.back().noise_multiplier = Noise(x);
    return SpentEpsilon(parts_, budget_.delta, accountant_);
  }

  PrivacyBudget budget_;
  Accountant accountant_;
  std::vector<SampledGaussian> parts_;
};

}  // namespace

absl::StatusOr<double> CalibrateNoise(const PrivacyBudget& budget, double sampling_rate,
                                      int64_t steps, Accountant accountant,
                                      absl::Span<const SampledGaussian> spent) {
  CSL_RETURN_IF_ERROR(CheckEpsilon(budget.epsilon));
  CSL_RETURN_IF_ERROR(CheckDelta(budget.delta));
  CSL_RETURN_IF_ERROR(
      CheckPart({.sampling_rate = sampling_rate, .noise_multiplier = 1, .steps = steps}));
  // One kind is the new one.
  CSL_ASSIGN_OR_RETURN(const std::vector<SampledGaussian> kinds,
                       CoarsenParts(spent, kKindsMax - 1));
  double start = 1;
  if (accountant == Accountant::kPld) {
    // A good place to begin, where the quick bound knows one.
    const auto by_rdp =
        NoiseSearch(budget, sampling_rate, steps, Accountant::kRdp, kinds).Smallest(start);
    if (by_rdp.ok()) start = *by_rdp;
  }
  return NoiseSearch(budget, sampling_rate, steps, accountant, kinds).Smallest(start);
}

}  // namespace consilium::dp
