// The noise of a DP-SGD step at a site, safe in floating point.
//
// The sum of the clipped contributions is snapped to a grid of a power of two, and a discrete
// Gaussian multiple of the grid is added in integers. Neither the holes of a floating-point sampler
// nor the rounding of a floating-point addition is left to see (Mironov 2012, "On significance of
// the least significant bits for differential privacy"). With more than 2^10 grid steps to a
// standard deviation, the discrete Gaussian spends what the continuous one does (Canonne, Kamath,
// Steinke 2020, arXiv:2004.00010), so the accountants apply.
//
// Snapping moves each of two neighbouring sums by up to half a grid step a coordinate, so the
// sensitivity is clip + grid * sqrt(dimensions) and not clip; the noise is calibrated to that.
// The grid is so fine that this is at most 2^-10 more.
#ifndef CONSILIUM_PRIVACY_DP_LOCAL_NOISE_H_
#define CONSILIUM_PRIVACY_DP_LOCAL_NOISE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/discrete_noise.h"
#include "privacy/dp/random_stream.h"

namespace consilium::dp {

inline constexpr int64_t kDimensionsMax = int64_t{1} << 32;

struct LocalNoiseOptions {
  double clip = 0;              // L2 bound of one contribution
  double noise_multiplier = 0;  // what the accountant is told
  int64_t dimensions = 0;       // length of the sum
  double sum_slack = 0;         // L2 error of the sum that is noised; FloatSumSlack
};

// The largest power of two that is at most noise_multiplier * clip / 2^10 and adds at most
// clip / 2^10 to the sensitivity.
double NoiseGrid(double clip, double noise_multiplier, int64_t dimensions);

// How far two neighbouring sums may be apart in L2 once they are snapped.
double SnappedSensitivity(double clip, double grid, int64_t dimensions);

// How much further two neighbouring sums may be apart because `contributions` (at most) were added
// in float, one after the other: clip * 2^-24 * contributions * (contributions + 1). A sum in
// double needs none.
double FloatSumSlack(double clip, int64_t contributions);

// Immutable; thread-safe, with a stream for each thread.
class LocalNoise {
 public:
  // INVALID_ARGUMENT: an option is not positive (the slack: negative), or they are so extreme that
  // the grid is not within the range of float or the noise not within the sampler's.
  static absl::StatusOr<LocalNoise> Create(const LocalNoiseOptions& options);

  // Snaps and noises `sum`, or any range of its coordinates, in place. Afterwards all values are
  // multiples of grid(). To divide by the public batch size is the caller's.
  // INVALID_ARGUMENT: a value is not finite, or beyond 2^50 grid steps; nothing is changed then.
  absl::Status AddTo(RandomStream& random, absl::Span<float> sum) const;

  double grid() const { return grid_; }
  double sensitivity() const { return sensitivity_; }  // with the snapping and the slack
  double sigma() const { return sigma_; }              // of the noise, in units of the sum

 private:
  LocalNoise(double grid, double sensitivity, double sigma, DiscreteGaussian noise);

  double grid_;
  double sensitivity_;
  double sigma_;
  DiscreteGaussian noise_;
};

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_LOCAL_NOISE_H_
