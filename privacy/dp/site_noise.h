// What a site does to its update under distributed differential privacy, before it is masked: clips
// it, rounds it to the grid at random, and adds its share of the noise, all as distributed.h
// accounts it.
//
// Rounding is conditional (Kairouz, Liu, Steinke 2021, arXiv:2102.06387, section 4.2): each value
// goes up or down so that its mean is kept, again until the norm is within RoundedSensitivity.
#ifndef CONSILIUM_PRIVACY_DP_SITE_NOISE_H_
#define CONSILIUM_PRIVACY_DP_SITE_NOISE_H_

#include <cstdint>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/discrete_noise.h"
#include "privacy/dp/distributed.h"
#include "privacy/dp/random_stream.h"

namespace consilium::dp {

// Immutable; thread-safe, with a stream for each thread.
class SiteNoise {
 public:
  // INVALID_ARGUMENT: CheckSetting's, or the clip or the noise is too many grid steps.
  static absl::StatusOr<SiteNoise> Create(const DistributedSetting& setting);

  // Writes the update in grid steps, to be added up modulo 2^LaneBits(setting); divide the sum by
  // the number of sites and multiply it by the grid. `update` is rotated and has `dimensions`
  // values, as has `out`. Memory: none more. INVALID_ARGUMENT: a length is another, or a value is
  // not finite; `out` is undefined then.
  absl::Status Encode(absl::Span<const float> update, RandomStream& random,
                      absl::Span<int64_t> out) const;

 private:
  SiteNoise(const DistributedSetting& setting, std::variant<DiscreteGaussian, Skellam> noise);

  DistributedSetting setting_;
  std::variant<DiscreteGaussian, Skellam> noise_;
};

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_SITE_NOISE_H_
