// The normal distribution where its tail counts: no digits lost to cancellation or underflow.
// Pure functions; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_NORMAL_H_
#define CONSILIUM_PRIVACY_DP_NORMAL_H_

namespace consilium::dp {

// log(erfc(x)), also where erfc(x) itself underflows (Abramowitz & Stegun 7.1.23).
double LogErfc(double x);

// The probability that a standard normal value is above x; accurate relative to itself.
double NormalAbove(double x);
// The probability of (low, high]; low <= high, either may be infinite.
double NormalBetween(double low, double high);
// x > 0 with NormalAbove(x) <= probability, by at most a few 10^-12; probability in (0, 1/2].
double NormalQuantileAbove(double probability);

// (1 - Phi(x)) / phi(x), the Mills ratio. x above about -37, where it overflows.
double MillsRatio(double x);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_NORMAL_H_
