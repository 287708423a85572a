// The mechanism that spends a patient's privacy in training: Gaussian noise on a sum of clipped
// contributions, of which each takes part with probability q, independently (Poisson sampling).
// Neighbouring data sets differ by one record that is added or removed.
//
// A record is whatever is clipped as one contribution: all volumes of one patient, or all of one
// site. Plain values and pure functions; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_SAMPLED_GAUSSIAN_H_
#define CONSILIUM_PRIVACY_DP_SAMPLED_GAUSSIAN_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace consilium::dp {

// Beyond these a value is a mistake rather than a setting, and sums below could lose digits.
inline constexpr double kNoiseMultiplierMin = 1e-4;
inline constexpr double kNoiseMultiplierMax = 1e9;
inline constexpr int64_t kStepsMax = int64_t{1} << 30;  // of all parts together
inline constexpr size_t kPartsMax = 4096;
inline constexpr double kDeltaMin = 1e-15;

// Steps of one kind.
struct SampledGaussian {
  double sampling_rate = 1.0;     // q, in [0, 1]; 1 is no sampling
  double noise_multiplier = 0.0;  // standard deviation of the noise / L2 bound of a contribution
  int64_t steps = 0;
};

// INVALID_ARGUMENT: out of the ranges above, or not a number.
absl::Status CheckPart(const SampledGaussian& part);
// INVALID_ARGUMENT: not in [kDeltaMin, 1).
absl::Status CheckDelta(double delta);
// INVALID_ARGUMENT: not a positive number.
absl::Status CheckEpsilon(double epsilon);

// The same spending with the steps of equal parts added up, in a fixed order; parts that spend
// nothing are left out. INVALID_ARGUMENT: a part is, or they are more than the limits above.
absl::StatusOr<std::vector<SampledGaussian>> MergeParts(absl::Span<const SampledGaussian> parts);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_SAMPLED_GAUSSIAN_H_
