#include "training/loop/schedule.h"

#include <algorithm>
#include <cmath>

namespace consilium::training {

double PolynomialRate(double top, int64_t step, int64_t total_steps) {
  if (step >= total_steps) return 0.0;
  const double done = static_cast<double>(step) / static_cast<double>(total_steps);
  return top * std::pow(1.0 - done, 0.9);
}

double EmaDecay(int64_t step, double alpha) {
  return std::min(1.0 - 1.0 / static_cast<double>(step + 1), alpha);
}

}  // namespace consilium::training
