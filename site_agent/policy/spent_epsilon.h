// The accountant of privacy/dp as the budget ledger asks for it. Pure; thread-safe.
#ifndef CONSILIUM_SITE_AGENT_POLICY_SPENT_EPSILON_H_
#define CONSILIUM_SITE_AGENT_POLICY_SPENT_EPSILON_H_

#include <vector>

#include "site_agent/policy/ledger_book.h"

namespace consilium::agent {

// ComposeParts (ledger_book.h) by privacy loss distributions (privacy/dp/budget.h): never less than what
// was spent. Not a number where the accountant refuses a part, which counts as no guarantee.
double SpentEpsilonOf(const std::vector<BudgetPart>& parts, double delta);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_SPENT_EPSILON_H_
