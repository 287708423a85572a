#include "privacy/dp/wide.h"

#include <cmath>

namespace consilium::dp {
namespace {

// For |x| <= 1: 34 terms leave 1/35! = 2^-132.
Wide ExpSeries(Wide x) {
  Wide sum = 1;
  for (int n = 34; n >= 1; --n) sum = 1 + sum * x / n;
  return sum;
}

}  // namespace

Wide WideExp(Wide x) {
  const int whole = static_cast<int>(x);
  Wide power = whole < 0 ? 1 / ExpSeries(1) : ExpSeries(1);
  Wide result = ExpSeries(x - whole);
  for (int n = whole < 0 ? -whole : whole; n != 0; n /= 2) {
    if (n % 2 != 0) result *= power;
    power *= power;
  }
  return result;
}

Wide WideLog(Wide x) {
  int exponent = 0;
  std::frexp(static_cast<double>(x), &exponent);
  Wide mantissa = x;
  for (; exponent > 0; --exponent) mantissa /= 2;
  for (; exponent < 0; ++exponent) mantissa *= 2;
  std::frexp(static_cast<double>(x), &exponent);
  // Halley's iteration of e^y = mantissa: cubic, from 52 bits to all of them in one step.
  const auto log = [](Wide value) {
    Wide y = std::log(static_cast<double>(value));
    for (int i = 0; i < 2; ++i) {
      const Wide power = WideExp(y);
      y += 2 * (value - power) / (value + power);
    }
    return y;
  };
  static const Wide ln2 = log(2);
  return log(mantissa) + ln2 * exponent;
}

}  // namespace consilium::dp
