// The logarithm of a Poisson probability without cancellation, with 53 or 113 bits. Internal to
// discrete_noise.cc.
//
//   log P(k) = -stirling_error(k) - lambda h((k - lambda)/lambda) - log(2 pi k)/2
//   h(u) = (1+u) log(1+u) - u                     (Loader 2000, "saddle-point" form)
//
// For k below 64 directly. Pure functions; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_POISSON_LOG_H_
#define CONSILIUM_PRIVACY_DP_POISSON_LOG_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "privacy/dp/wide.h"

namespace consilium::dp {

inline double LogOf(double x) { return std::log(x); }
inline Wide LogOf(Wide x) { return WideLog(x); }

// log(k!) - (k log k - k + log(2 pi k)/2) for k >= 64, where 14 terms leave 2^-110.
template <typename T>
T StirlingError(T k) {
  // B_{2n} / (2n (2n-1))
  static const T kTerms[] = {T(1) / 12,         T(-1) / 360,
                             T(1) / 1260,       T(-1) / 1680,
                             T(1) / 1188,       T(-691) / 360360,
                             T(1) / 156,        T(-3617) / 122400,
                             T(43867) / 244188, T(-174611) / 125400,
                             T(77683) / 5796,   T(-236364091) / 1506960,
                             T(657931) / 300,   T(-3392780147.0) / 93960};
  const T square = 1 / (k * k);
  T sum = 0;
  // 53 bits are reached after five.
  for (int n = sizeof(T) > sizeof(double) ? 13 : 4; n >= 0; --n) sum = sum * square + kTerms[n];
  return sum / k;
}

// h(u) above, u > -1.
template <typename T>
T PoissonDeviance(T u) {
  if (u > T(0.1) || u < T(-0.1)) return (1 + u) * LogOf(1 + u) - u;
  // u^2/2 - u^3/6 + u^4/12 - ...; |u| <= 1/10.
  const T least = sizeof(T) > sizeof(double) ? T(0x1p-118) : T(0x1p-56);
  T power = u * u;
  T sum = 0;
  for (int n = 2; n < 60; ++n) {
    sum += power / (n * (n - 1));
    power *= -u;
    if ((power < 0 ? -power : power) < least * u * u) break;
  }
  return sum;
}

// k >= 0, lambda > 0. `log_lambda` and `log_two_pi` save time.
template <typename T>
T PoissonLog(int64_t k, T lambda, T log_lambda, T log_two_pi) {
  const T value = static_cast<T>(k);
  if (k < 64) {
    T factorial = 1;  // at most 2^290
    for (int64_t i = 2; i <= k; ++i) factorial *= static_cast<T>(i);
    return value * log_lambda - lambda - LogOf(factorial);
  }
  const T deviance = lambda * PoissonDeviance<T>((value - lambda) / lambda);
  return -StirlingError<T>(value) - deviance - (log_two_pi + LogOf(value)) / 2;
}

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_POISSON_LOG_H_
