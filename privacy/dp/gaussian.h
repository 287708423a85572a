// Privacy spent by Gaussian noise without sampling, exactly. Pure functions; thread-safe.
//
//   delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)
//     Balle, Wang 2018, arXiv:1805.06530, theorem 8, where mu = 1 / noise multiplier
//   k compositions of mu_i are one of mu = sqrt(sum mu_i^2)
//     Dong, Roth, Su 2019, arXiv:1905.02383, corollary 3.3
#ifndef CONSILIUM_PRIVACY_DP_GAUSSIAN_H_
#define CONSILIUM_PRIVACY_DP_GAUSSIAN_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace consilium::dp {

// Relative error below 1e-9, upwards in case of doubt; 0 where delta alone suffices.
// INVALID_ARGUMENT: a value out of the ranges of sampled_gaussian.h.
absl::StatusOr<double> GaussianEpsilon(double noise_multiplier, int64_t steps, double delta);

// INVALID_ARGUMENT: as above, or epsilon is negative or not a number.
absl::StatusOr<double> GaussianDelta(double noise_multiplier, int64_t steps, double epsilon);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_GAUSSIAN_H_
