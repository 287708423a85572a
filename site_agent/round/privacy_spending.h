// What one training may take from the privacy of the site's patients, and what it took.
//
//   level sample   DP-SGD: noise calibrated for all steps of the plan at this site's own number of
//                  patients; the budget is the plan's, counted by the site's ledger
//   level site     one step for each update, as the noise of the sum hides all of a site's patients
//   none           training without noise, which bounds nothing; the ledger says so
//
// Order: Begin before the first step (reserves, durably), Finish after the last. A training that is
// never finished stays counted in full.
#ifndef CONSILIUM_SITE_AGENT_ROUND_PRIVACY_SPENDING_H_
#define CONSILIUM_SITE_AGENT_ROUND_PRIVACY_SPENDING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/budget_ledger.h"
#include "site_agent/policy/site_policy.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

// The chance of each of `patients` (> 0) to be drawn in a step of level sample: min(1, L /
// patients), L the plan's patients per step. And the least noise with which all steps of the plan
// keep its (epsilon, delta) at that rate: the same in each round while the site's patients are the
// same.
struct SampleNoise {
  double sampling_rate = 1;
  double noise_multiplier = 0;
};
// Takes up to a second. OUT_OF_RANGE, INVALID_ARGUMENT: CalibrateNoise's.
absl::StatusOr<SampleNoise> SampleNoiseFor(const wire::Plan& plan, int64_t patients);

// What a round of the plan costs: steps of its kind, all of a full round. `patients` as above;
// only level sample looks at it.
absl::StatusOr<BudgetPart> RoundPart(const wire::Plan& plan, int64_t patients);

class PrivacySpending {
 public:
  // Reserves as many steps of the round as the plan's budget and the site's own allow, for
  // everybody in `patients` (pseudonyms; repetitions count once). `ledger` must outlive it.
  // RESOURCE_EXHAUSTED, to be declined with its message: the plan's budget is spent. Errors of
  // BudgetLedger::Reserve, a Refusal among them, and of SampleNoiseFor.
  static absl::StatusOr<PrivacySpending> Begin(BudgetLedger& ledger, const SiteTask& task,
                                               const std::vector<std::string>& patients,
                                               const PatientBudget& limit);

  const BudgetPart& part() const { return part_; }  // `steps`: that may be taken
  // `steps_begun`: of level sample, steps whose noise was drawn; of the others it does not matter.
  absl::Status Finish(int64_t steps_begun);
  // "epsilon 3.1 of 8 at delta 0.0001 spent": of the plan's budget, by the worst patient, with this
  // training as it was finished or reserved; "no guarantee" without noise.
  std::string Text() const;

 private:
  PrivacySpending(BudgetLedger& ledger, const SiteTask& task, std::vector<std::string> patients)
      : ledger_(&ledger),
        study_(task.study),
        terms_(task.plan.privacy),
        patients_(std::move(patients)) {}

  BudgetLedger* ledger_;
  std::string study_;
  wire::PlanPrivacy terms_;
  std::vector<std::string> patients_;
  BudgetPart part_;
  uint64_t reservation_ = 0;
};

// `patients` without those whose own budget over all studies does not hold a full round any more;
// all of them where that would leave nobody (Begin then says why).
absl::StatusOr<std::vector<std::string>> PatientsWithinBudget(
    const BudgetLedger& ledger, const wire::Plan& plan, const std::vector<std::string>& patients,
    const PatientBudget& limit);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_PRIVACY_SPENDING_H_
