// The rules by which a round's updates become one, and what each of them needs in order to hold.
//
// n: updates of a round; f: hostile among them, at most. What a rule promises below is only
// promised for f that CheckRule accepts.
#ifndef CONSILIUM_AGGREGATION_ROBUST_RULE_H_
#define CONSILIUM_AGGREGATION_ROBUST_RULE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::aggregation {

enum class Rule {
  // sum w_i x_i / sum w_i. One hostile update can put the result anywhere.
  kWeightedMean,
  // The same of x_i * min(1, C/|x_i|): a hostile update moves the result by C * w_i / sum w at
  // most.
  // Sun et al. 2019, arXiv:1911.07963, section 3.
  kNormBound,
  // Of each parameter (column_rules.h).
  kMedian,
  kTrimmedMean,  // f at each end
  // The update with the smallest sum of squared distances to its n-f-2 nearest. For comparison: on
  // sites that differ it loses much accuracy. Blanchard et al. 2017, arXiv:1703.02757, section 4.
  kKrum,
  // The weighted mean of the n-f updates that Krum ranks first. Same paper, section 5.
  kMultiKrum,
  // Divide and conquer: without the f updates that stand out most along the direction in which a
  // sample of parameters varies most. Shejwalkar & Houmansadr, NDSS 2021, algorithm 2.
  kDnc,
  // Each update counts by the cosine to an update that the coordinator made on its own public data,
  // and is rescaled to that update's norm. Cao et al. 2021, arXiv:2012.13995, algorithm 2.
  kFlTrust,
  // The median, parameter by parameter, of the means of groups of kGroupSites sites that are summed
  // under secure aggregation.
  kGroupMedian,
};

inline constexpr int64_t kGroupSites = 4;

// As in a study's settings: "weighted-mean", "norm-bound", "median", "trimmed-mean", "krum",
// "multi-krum", "dnc", "fltrust", "group-median".
absl::string_view RuleName(Rule rule);
// INVALID_ARGUMENT: no rule has this name.
absl::StatusOr<Rule> ParseRule(absl::string_view name);

// The fewest updates with which `rule` holds against `f` hostile ones (0 <= f <= 10,000).
int64_t UpdatesMin(Rule rule, int64_t f);
// FAILED_PRECONDITION, with the reason in words: `rule` does not hold for f hostile of n updates,
// or is not worth having there. Of kGroupMedian n counts the sites, not the groups.
absl::Status CheckRule(Rule rule, int64_t n, int64_t f);

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_ROBUST_RULE_H_
