// Finds where a growing, expensive function passes a value. Internal to budget.cc and calibrate.cc.
#ifndef CONSILIUM_PRIVACY_DP_MONOTONE_SEARCH_H_
#define CONSILIUM_PRIVACY_DP_MONOTONE_SEARCH_H_

#include <algorithm>
#include <cmath>

#include "absl/status/statusor.h"
#include "proto/base/status.h"

namespace consilium::dp {

struct SearchPoint {
  double x = 0;  // positive, except for a bracket's lower end, which may be zero
  double value = 0;
};

struct SearchOptions {
  double target = 0;
  double tolerance = 0;  // of x, relative
  bool whole = false;    // x is a whole number: an interval of 1 is as good as it gets
};

// An x with f(x) <= target that is at most the tolerance below one with f(x) > target. Interpolates
// powers of x, for which epsilon is nearly one, and halves the interval when that is slow.
// REQUIRES: low.value <= target < high.value. Errors: f's.
template <typename Function>
absl::StatusOr<double> LargestNotAbove(const Function& f, SearchPoint low, SearchPoint high,
                                       const SearchOptions& options) {
  const auto wide = [&] {
    const double width = high.x - low.x;
    return width > options.tolerance * low.x && !(options.whole && width <= 1);
  };
  bool low_moved = false;
  for (int round = 1; wide(); ++round) {
    const double middle = low.x > 0 ? std::sqrt(low.x * high.x) : high.x / 2;
    double x = middle;
    if (round % 4 != 0 && low.x > 0 && low.value > 0 && std::isfinite(high.value)) {
      const double part = std::log(options.target / low.value) / std::log(high.value / low.value);
      x = low.x * std::pow(high.x / low.x, part);
      // A little past the crossing, seen from the end that moved, so that the other end moves next.
      x *= low_moved ? 1 + 0.4 * options.tolerance : 1 - 0.4 * options.tolerance;
      if (!(x > low.x && x < high.x)) x = middle;
    }
    if (options.whole) x = std::clamp(std::round(x), low.x + 1, high.x - 1);
    CSL_ASSIGN_OR_RETURN(const double value, f(x));
    low_moved = value <= options.target;
    (low_moved ? low : high) = {.x = x, .value = value};
  }
  return low.x;
}

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_MONOTONE_SEARCH_H_
