// How much less an update counts whose base is no longer the newest version.
//
// Buffered asynchronous aggregation (FedBuff: Nguyen et al. 2022, arXiv:2106.06639, algorithm 1 and
// section 5): sites train without waiting for each other, and K accepted updates make a version,
//
//   x' = x + sum_i s(t_i) w_i delta_i / sum_i w_i        s(t) = (1 + t)^-a
//
// x: the newest version. t_i: the versions committed between the one that update i started from and
// x. a: staleness_exponent. w_i: the update's weight in cases (all 1 in the paper). The divisor holds
// the weights before the discount, so a buffer of stale updates moves the model less than one of
// fresh updates, as in the paper. Weights are whole thousandths of a case once discounted and the sum
// is in fixed point, so the order of arrival does not matter.
#ifndef CONSILIUM_COORDINATOR_ROUND_STALENESS_H_
#define CONSILIUM_COORDINATOR_ROUND_STALENESS_H_

#include <cmath>
#include <cstdint>

namespace consilium::coordinator {

// In 0..1, a whole number of millionths: libraries that round pow() differently agree on it.
inline double StalenessDiscount(int64_t staleness, double exponent) {
  const double exact = std::pow(1 + static_cast<double>(staleness), -exponent);
  return std::round(exact * 1e6) / 1e6;
}

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STALENESS_H_
