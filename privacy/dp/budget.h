// What a cohort's privacy has cost so far, and how much more fits into its budget. Pure functions;
// thread-safe.
//
// Parts are what a ledger of finished and begun training holds: a step that may have been seen
// counts, whether or not its round succeeded. Every result is on the safe side: epsilon is never
// too small and steps are never too many.
#ifndef CONSILIUM_PRIVACY_DP_BUDGET_H_
#define CONSILIUM_PRIVACY_DP_BUDGET_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/sampled_gaussian.h"

namespace consilium::dp {

// Which bound counts. kPld is tight and takes tens of milliseconds for each kind of step; kRdp is
// above it by 7 to 20 percent, and is also what kPld falls back to where delta is too small for it.
enum class Accountant { kPld, kRdp };

struct PrivacyBudget {
  double epsilon = 0;
  double delta = 0;
};

// min(10^-3, 1/(10 N)) for a cohort of N patients; of one, where N is less.
double DefaultDelta(int64_t patients);

// Kinds of steps that an accountant looks at one by one.
inline constexpr size_t kKindsMax = 64;

// At most `kinds_max` (> 0) kinds, by raising sampling rates and lowering noise multipliers to
// common values, by as little as it takes in powers of two. Never spends less than `parts`.
// INVALID_ARGUMENT: MergeParts'.
absl::StatusOr<std::vector<SampledGaussian>> CoarsenParts(absl::Span<const SampledGaussian> parts,
                                                          size_t kinds_max);

// The epsilon that all of `parts` have spent together, at `delta`. More than kKindsMax kinds are
// coarsened first. INVALID_ARGUMENT: CheckDelta's or MergeParts'.
absl::StatusOr<double> SpentEpsilon(absl::Span<const SampledGaussian> parts, double delta,
                                    Accountant accountant = Accountant::kPld);

// How many steps of the kind of `next` (its `steps` do not matter) may follow `spent` so that
// SpentEpsilon stays at or below the budget's: the largest number, or short of it by 1/4096 at
// most. 0: none. kStepsMax less the steps spent: no such number of steps exhausts it.
// INVALID_ARGUMENT: as SpentEpsilon, or the budget's epsilon is not positive.
absl::StatusOr<int64_t> StepsThatFit(absl::Span<const SampledGaussian> spent,
                                     const SampledGaussian& next, const PrivacyBudget& budget,
                                     Accountant accountant = Accountant::kPld);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_BUDGET_H_
