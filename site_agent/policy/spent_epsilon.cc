#include "site_agent/policy/spent_epsilon.h"

#include <limits>

#include "privacy/dp/budget.h"

namespace consilium::agent {

double SpentEpsilonOf(const std::vector<BudgetPart>& parts, double delta) {
  std::vector<dp::SampledGaussian> all;
  for (const BudgetPart& part : parts) {
    all.push_back({.sampling_rate = part.sampling_rate,
                   .noise_multiplier = part.noise_multiplier,
                   .steps = part.steps});
  }
  const absl::StatusOr<double> spent = dp::SpentEpsilon(all, delta);
  return spent.ok() ? *spent : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace consilium::agent
