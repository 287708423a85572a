// Integer noise: discrete Gaussian and Skellam, each within a statistical distance of 2^-90 per
// value of the distribution named (block_sampler.h), with no floating-point value that could give
// it away.
//
//   discrete Gaussian: P(y) proportional to e^{-y^2/(2 sigma^2)}
//     Canonne, Kamath, Steinke 2020, arXiv:2004.00010
//   Skellam: the difference of two Poisson values of mean variance/2; a sum of Skellam values is
//   one
//     Agarwal, Kairouz, Liu 2021, arXiv:2110.04995
//
// Units: sigma and variance in grid steps. Immutable and thread-safe; the stream is the caller's.
// How long a draw takes depends on its value a little; a site does not let others time single
// draws.
#ifndef CONSILIUM_PRIVACY_DP_DISCRETE_NOISE_H_
#define CONSILIUM_PRIVACY_DP_DISCRETE_NOISE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/random_stream.h"

namespace consilium::dp {

inline constexpr double kGridSigmaMin = 0.01;
inline constexpr double kGaussianSigmaMax = 1099511627776.0;       // 2^40
inline constexpr double kSkellamVarianceMax = 1125899906842624.0;  // 2^50

class DiscreteGaussian {
 public:
  // INVALID_ARGUMENT: sigma is not in [kGridSigmaMin, kGaussianSigmaMax].
  static absl::StatusOr<DiscreteGaussian> Create(double sigma);
  DiscreteGaussian(DiscreteGaussian&&) noexcept;
  DiscreteGaussian& operator=(DiscreteGaussian&&) noexcept;
  ~DiscreteGaussian();

  void Sample(RandomStream& random, absl::Span<int64_t> out) const;

 private:
  struct Rep;
  explicit DiscreteGaussian(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

class Skellam {
 public:
  // INVALID_ARGUMENT: variance is not in [kGridSigmaMin^2, kSkellamVarianceMax].
  static absl::StatusOr<Skellam> Create(double variance);
  Skellam(Skellam&&) noexcept;
  Skellam& operator=(Skellam&&) noexcept;
  ~Skellam();

  void Sample(RandomStream& random, absl::Span<int64_t> out) const;

 private:
  struct Rep;
  explicit Skellam(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_DISCRETE_NOISE_H_
