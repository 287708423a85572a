#include "privacy/dp/gaussian.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "privacy/dp/normal.h"
#include "privacy/dp/sampled_gaussian.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kTailMax = 40;  // delta is far below kDeltaMin there

// delta where epsilon = mu * (a + mu/2). e^epsilon phi(a + mu) = phi(a), so with Mills ratios
// nothing overflows and equal leading digits never meet. a >= -mu/2.
double DeltaAt(double mu, double a) {
  const double density = std::exp(-a * a / 2) / std::sqrt(2 * M_PI);
  if (a < 0) return NormalAbove(a) - density * MillsRatio(a + mu);
  return density * (MillsRatio(a) - MillsRatio(a + mu));
}

absl::StatusOr<double> Mu(double noise_multiplier, int64_t steps) {
  const SampledGaussian part{.noise_multiplier = noise_multiplier, .steps = steps};
  CSL_RETURN_IF_ERROR(CheckPart(part));
  return std::sqrt(static_cast<double>(steps)) / noise_multiplier;
}

}  // namespace

absl::StatusOr<double> GaussianEpsilon(double noise_multiplier, int64_t steps, double delta) {
  CSL_ASSIGN_OR_RETURN(const double mu, Mu(noise_multiplier, steps));
  CSL_RETURN_IF_ERROR(CheckDelta(delta));
  if (mu == 0 || DeltaAt(mu, -mu / 2) <= delta) return 0.0;
  double low = -mu / 2;
  double high = kTailMax;
  for (int i = 0; i < 200 && high - low > 1e-15 * (std::abs(high) + mu); ++i) {
    const double middle = (low + high) / 2;
    (DeltaAt(mu, middle) <= delta ? high : low) = middle;
  }
  return mu * (high + mu / 2);
}

absl::StatusOr<double> GaussianDelta(double noise_multiplier, int64_t steps, double epsilon) {
  CSL_ASSIGN_OR_RETURN(const double mu, Mu(noise_multiplier, steps));
  if (!(epsilon >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("epsilon ", epsilon, ": negative"));
  }
  if (mu == 0) return 0.0;
  return std::max(0.0, DeltaAt(mu, epsilon / mu - mu / 2));
}

}  // namespace consilium::dp
