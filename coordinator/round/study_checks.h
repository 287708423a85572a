// What the terms of a study (study_terms.h) cannot mean together, and what each may be.
//
// The combinations are one table, which docs/study.md repeats row by row. Pure functions.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_CHECKS_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "aggregation/robust_rule.h"
#include "coordinator/round/study.h"

namespace consilium::coordinator {

// A combination that is refused.
struct Combination {
  std::string key;       // the key to change
  std::string together;  // "robust rule, secure-aggregation"
  std::string reason;    // why it cannot work, and what to write instead
};
std::vector<Combination> RefusedCombinations();

// OK, or INVALID_ARGUMENT with the key, the reason and the remedy.
absl::Status CheckTerms(const StudySpec& spec);

// Sites, of `sites` that start a masked sum, without which it is never revealed: floor(2n/3) + 1,
// Bonawitz et al. 2017 against a coordinator that colludes with fewer than a third.
int64_t MaskedThreshold(int64_t sites);
// Groups of a study with protection.group, when a round opens with its min_sites.
int64_t GroupsMin(const StudySpec& spec);

// The rule of aggregation/ that a checked study file names.
aggregation::Rule RuleOf(const RuleSpec& rule);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_CHECKS_H_
