#include "privacy/dp/normal.h"

#include <cmath>

namespace consilium::dp {
namespace {

constexpr double kAsymptoticFrom = 12;  // erfc(12) = 1e-64, still normal

// sqrt(pi) x e^{x^2} erfc(x) for x >= kAsymptoticFrom: 1 - 1/(2x^2) + 1*3/(2x^2)^2 - ...
double ErfcSeries(double x) {
  const double factor = 1 / (2 * x * x);
  double term = 1;
  double sum = 1;
  for (int n = 1; n <= 12; ++n) {  // the last is below 1e-17 at x = 12
    term *= -(2 * n - 1) * factor;
    sum += term;
  }
  return sum;
}

}  // namespace

double LogErfc(double x) {
  if (x < kAsymptoticFrom) return std::log(std::erfc(x));
  return -x * x - std::log(x * std::sqrt(M_PI)) + std::log(ErfcSeries(x));
}

double NormalAbove(double x) { return 0.5 * std::erfc(x * M_SQRT1_2); }

double NormalBetween(double low, double high) {
  // On the side where both tails are small, so that the difference keeps its digits.
  if (low + high > 0) return NormalAbove(low) - NormalAbove(high);
  return NormalAbove(-high) - NormalAbove(-low);
}

double NormalQuantileAbove(double probability) {
  double low = 0;
  double high = 40;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2;
    (NormalAbove(middle) <= probability ? high : low) = middle;
  }
  return high;
}

double MillsRatio(double x) {
  const double scaled = x * M_SQRT1_2;
  if (scaled >= kAsymptoticFrom) return ErfcSeries(scaled) / x;
  return std::sqrt(M_PI / 2) * std::exp(scaled * scaled) * std::erfc(scaled);
}

}  // namespace consilium::dp
