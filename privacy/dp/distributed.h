// Distributed differential privacy of sites: each site adds a share of the noise to its masked
// update, and only the sum, with all shares, is ever seen. The unit of privacy is a site.
//
// A site clips to c in L2, rounds to multiples of gamma at random (again, until the norm is within
// the bound below) and adds integer noise of variance sigma^2 / t, where t is the threshold of
// survivors of the secure aggregation: fewer never yield a sum, and more only add noise. The
// coordinates should be rotated before, so that none is large.
//   Kairouz, Liu, Steinke 2021, arXiv:2102.06387 (discrete Gaussian)
//   Agarwal, Kairouz, Liu 2021, arXiv:2110.04995 (Skellam)
//
//   Delta2^2 = min{ (c + gamma sqrt d)^2,
//                   c^2 + gamma^2 d/4 + sqrt(2 ln(1/beta)) gamma (c + gamma sqrt(d)/2) }
//   discrete Gaussian: rdp(a) = min{ a Delta2^2/(2 s^2) + tau d, (a/2) (Delta2/s + sqrt(d) tau)^2
//   },
//     s^2 = t sigma_loc^2, tau = 10 sum_{k<n} e^{-2 pi^2 (sigma_loc/gamma)^2 k/(k+1)}
//   Skellam, in grid steps, of variance mu: rdp(a) = a Delta2^2/(2 mu)
//     + min{ ((2a-1) Delta2^2 + 6 Delta1)/(4 mu^2), 3 Delta1/(2 mu) },
//     Delta1 = min{ sqrt(d) Delta2, Delta2^2 }
//
// Pure functions; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_DISTRIBUTED_H_
#define CONSILIUM_PRIVACY_DP_DISTRIBUTED_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/budget.h"
#include "privacy/dp/rdp_accountant.h"

namespace consilium::dp {

enum class DistributedMechanism { kDiscreteGaussian, kSkellam };

struct DistributedSetting {
  DistributedMechanism mechanism = DistributedMechanism::kDiscreteGaussian;
  double clip = 0;              // L2 bound of a site's update
  double grid = 0;              // gamma, in units of the update
  int64_t dimensions = 0;       // d; after padding for the rotation
  int64_t sites = 0;            // n, who take part in a round
  int64_t threshold = 0;        // t, the fewest whose sum is opened
  double noise_multiplier = 0;  // sigma / clip, of the sum of t shares
  int64_t rounds = 0;
  double beta = 0.60653065971263342;  // e^{-1/2}; how often a rounding may be repeated
};

// INVALID_ARGUMENT: a value is not positive, not finite or out of range; t > n; beta not in (0, 1).
absl::Status CheckSetting(const DistributedSetting& setting);

// Delta2 above, in units of the update.
double RoundedSensitivity(double clip, double grid, int64_t dimensions, double beta);

// The standard deviation of one site's share, in units of the update: sigma / sqrt(t).
double LocalSigma(const DistributedSetting& setting);

// rdp(a) of all rounds. INVALID_ARGUMENT: CheckSetting's, or the order is not above 1.
absl::StatusOr<double> DistributedDivergence(const DistributedSetting& setting, double order);

// Epsilon of all rounds. INVALID_ARGUMENT: CheckSetting's, CheckDelta's or EpsilonFromDivergence's.
absl::StatusOr<double> DistributedEpsilon(const DistributedSetting& setting, double delta,
                                          absl::Span<const double> orders = DefaultOrders());

// The smallest noise multiplier that keeps the budget, by at most 10^-4 of itself too large; that
// of `setting` does not matter. INVALID_ARGUMENT: as above. OUT_OF_RANGE: there is none.
absl::StatusOr<double> CalibrateDistributed(const DistributedSetting& setting,
                                            const PrivacyBudget& budget);

// How many bits a lane of the sum needs so that it wraps around with the probability of a normal
// value beyond `deviations` of its own:
//   2^b >= 2 k sqrt(rho (c n)^2 / d + (gamma^2/4 + sigma_loc^2) n) / gamma
// `flatness` is rho: 1 after a rotation, d where one coordinate may hold all of the norm.
// INVALID_ARGUMENT: CheckSetting's, or either value is not positive.
absl::StatusOr<int> LaneBits(const DistributedSetting& setting, double deviations = 4,
                             double flatness = 1);

// How many times the noise in the mean of n updates is longer than an update of the clip's length
// that all sites agree on: z sqrt(d) / n.
double NoiseToSignal(double noise_multiplier, int64_t dimensions, int64_t sites);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_DISTRIBUTED_H_
