// Privacy spent, by the distribution of the privacy loss: within a thousandth of the true epsilon,
// and never below it.
//
// The losses of all steps add up, so their distributions are convolved (by FFT), once for each
// direction of neighbours; the larger epsilon of the two counts.
//   Koskela, Jalkoe, Honkela 2020, arXiv:1906.03049; Gopi, Lee, Wutschitz 2021, arXiv:2106.02848
// Every approximation errs upwards: cells of the grid by "connect the dots" (privacy_loss.h), the
// tails by Chernoff's bound, and the rounding of the FFT by a reserve, both counted as mass at an
// infinite loss.
//
// Immutable after Compose(); thread-safe. Time: tens of milliseconds for a training run. Memory: at
// most about 100 MB while composing.
#ifndef CONSILIUM_PRIVACY_DP_PLD_ACCOUNTANT_H_
#define CONSILIUM_PRIVACY_DP_PLD_ACCOUNTANT_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/privacy_loss.h"
#include "privacy/dp/sampled_gaussian.h"

namespace consilium::dp {

class PldAccountant {
 public:
  // INVALID_ARGUMENT: MergeParts'.
  static absl::StatusOr<PldAccountant> Compose(absl::Span<const SampledGaussian> parts);

  // The least epsilon >= 0. INVALID_ARGUMENT: CheckDelta's. OUT_OF_RANGE: delta is not above the
  // mass at infinity (about 2e-12, and 5e-15 a step), so that no epsilon is known.
  absl::StatusOr<double> Epsilon(double delta) const;
  // INVALID_ARGUMENT: epsilon is negative or not a number.
  absl::StatusOr<double> Delta(double epsilon) const;

 private:
  PldAccountant(PrivacyLoss remove, PrivacyLoss add);

  PrivacyLoss remove_;
  PrivacyLoss add_;
};

// Compose and Epsilon in one.
absl::StatusOr<double> EpsilonByPld(absl::Span<const SampledGaussian> parts, double delta);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_PLD_ACCOUNTANT_H_
