#include "privacy/dp/budget.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "privacy/dp/monotone_search.h"
#include "privacy/dp/pld_accountant.h"
#include "privacy/dp/rdp_accountant.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kStepsTolerance = 1.0 / 4096;

int64_t Steps(absl::Span<const SampledGaussian> parts) {
  int64_t steps = 0;
  for (const SampledGaussian& part : parts) steps += part.steps;
  return steps;
}

// The parts with steps of one more kind.
std::vector<SampledGaussian> With(absl::Span<const SampledGaussian> parts, SampledGaussian next,
                                  int64_t steps) {
  std::vector<SampledGaussian> all(parts.begin(), parts.end());
  next.steps = steps;
  all.push_back(next);
  return all;
}

// The search of StepsThatFit, given epsilon by the number of further steps.
template <typename Function>
absl::StatusOr<int64_t> MostSteps(const Function& epsilon, double budget, int64_t start,
                                  int64_t limit) {
  CSL_ASSIGN_OR_RETURN(const double spent, epsilon(0.0));
  if (spent > budget || limit <= 0) return 0;
  SearchPoint low{.x = 0, .value = spent};
  SearchPoint high{.x = static_cast<double>(std::clamp<int64_t>(start, 1, limit))};
  for (;; high.x = std::min(static_cast<double>(limit), std::ceil(high.x * 1.3))) {
    CSL_ASSIGN_OR_RETURN(high.value, epsilon(high.x));
    if (high.value > budget) break;
    if (high.x >= static_cast<double>(limit)) return limit;
    low = high;
  }
  CSL_ASSIGN_OR_RETURN(
      const double steps,
      LargestNotAbove(epsilon, low, high,
                      {.target = budget, .tolerance = kStepsTolerance, .whole = true}));
  return static_cast<int64_t>(steps);
}

// The same by RDP, whose divergences are computed once.
absl::StatusOr<int64_t> MostStepsByRdp(absl::Span<const SampledGaussian> spent,
                                       SampledGaussian next, const PrivacyBudget& budget,
                                       int64_t limit) {
  next.steps = 1;
  const absl::Span<const double> orders = DefaultOrders();
  std::vector<double> before(orders.size(), 0.0);
  std::vector<double> each(orders.size(), 0.0);
  for (size_t i = 0; i < orders.size(); ++i) {
    CSL_ASSIGN_OR_RETURN(each[i], RenyiDivergence(next, orders[i]));
    for (const SampledGaussian& part : spent) {
      CSL_ASSIGN_OR_RETURN(const double divergence, RenyiDivergence(part, orders[i]));
      before[i] += divergence;
    }
  }
  const auto epsilon = [&](double steps) -> absl::StatusOr<double> {
    if (steps == 0 && spent.empty()) return 0.0;  // as EpsilonByRdp
    std::vector<double> sum(orders.size());
    for (size_t i = 0; i < orders.size(); ++i) sum[i] = before[i] + steps * each[i];
    CSL_ASSIGN_OR_RETURN(const RdpEpsilon result, EpsilonFromDivergence(orders, sum, budget.delta));
    return result.epsilon;
  };
  return MostSteps(epsilon, budget.epsilon, 1, limit);
}

// `value` rounded towards more spending, to a power of 1 + 2^-bits.
double RoundTo(double value, int bits, double (*round)(double)) {
  const double unit = std::log1p(std::exp2(-bits));
  return std::exp(round(std::log(value) / unit) * unit);
}

}  // namespace

double DefaultDelta(int64_t patients) {
  return std::min(1e-3, 0.1 / static_cast<double>(std::max<int64_t>(1, patients)));
}

absl::StatusOr<std::vector<SampledGaussian>> CoarsenParts(absl::Span<const SampledGaussian> parts,
                                                          size_t kinds_max) {
  CSL_ASSIGN_OR_RETURN(std::vector<SampledGaussian> merged, MergeParts(parts));
  for (int bits = 12; bits >= 0 && merged.size() > kinds_max; --bits) {
    for (SampledGaussian& part : merged) {
      const double rate = RoundTo(part.sampling_rate, bits, std::ceil);
      const double noise = RoundTo(part.noise_multiplier, bits, std::floor);
      // exp() may land a rounding error on the other side of a value that is on the grid already.
      part.sampling_rate = std::min(1.0, std::max(part.sampling_rate, rate));
      part.noise_multiplier = std::max(kNoiseMultiplierMin, std::min(part.noise_multiplier, noise));
    }
    CSL_ASSIGN_OR_RETURN(merged, MergeParts(merged));
  }
  if (merged.size() <= kinds_max) return merged;
  // Even powers of two leave too many: all as the worst of them.
  SampledGaussian worst = merged.front();
  worst.steps = Steps(merged);
  for (const SampledGaussian& part : merged) {
    worst.sampling_rate = std::max(worst.sampling_rate, part.sampling_rate);
    worst.noise_multiplier = std::min(worst.noise_multiplier, part.noise_multiplier);
  }
  return std::vector<SampledGaussian>{worst};
}

absl::StatusOr<double> SpentEpsilon(absl::Span<const SampledGaussian> parts, double delta,
                                    Accountant accountant) {
  CSL_RETURN_IF_ERROR(CheckDelta(delta));
  CSL_ASSIGN_OR_RETURN(const std::vector<SampledGaussian> kinds, CoarsenParts(parts, kKindsMax));
  if (accountant == Accountant::kPld) {
    absl::StatusOr<double> epsilon = EpsilonByPld(kinds, delta);
    if (!absl::IsOutOfRange(epsilon.status())) return epsilon;
  }
  CSL_ASSIGN_OR_RETURN(const RdpEpsilon epsilon, EpsilonByRdp(kinds, delta));
  return epsilon.epsilon;
}

absl::StatusOr<int64_t> StepsThatFit(absl::Span<const SampledGaussian> spent,
                                     const SampledGaussian& next, const PrivacyBudget& budget,
                                     Accountant accountant) {
  CSL_RETURN_IF_ERROR(CheckEpsilon(budget.epsilon));
  CSL_ASSIGN_OR_RETURN(const std::vector<SampledGaussian> kinds, CoarsenParts(spent, kKindsMax));
  CSL_RETURN_IF_ERROR(CheckDelta(budget.delta));
  SampledGaussian kind = next;
  kind.steps = 1;
  CSL_RETURN_IF_ERROR(CheckPart(kind));
  const int64_t limit = kStepsMax - Steps(spent);
  // What fits by the quick bound fits by the tight one, too: a good place to begin.
  CSL_ASSIGN_OR_RETURN(const int64_t by_rdp, MostStepsByRdp(kinds, kind, budget, limit));
  if (accountant == Accountant::kRdp) return by_rdp;
  const auto epsilon = [&](double steps) {
    return SpentEpsilon(With(kinds, kind, static_cast<int64_t>(steps)), budget.delta, accountant);
  };
  return MostSteps(epsilon, budget.epsilon, by_rdp, limit);
}

}  // namespace consilium::dp
