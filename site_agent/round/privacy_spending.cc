#include "site_agent/round/privacy_spending.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "privacy/dp/budget.h"
#include "privacy/dp/calibrate.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

// The rounding to the grid and the discreteness of the noise cost less than this: the grid is
// checked to be that fine before anything is masked (masking/site_noise_source.h).
constexpr double kSiteNoiseMargin = 0.999;

std::vector<dp::SampledGaussian> Gaussians(const std::vector<BudgetPart>& parts) {
  std::vector<dp::SampledGaussian> all;
  for (const BudgetPart& part : parts) {
    if (part.mechanism == Mechanism::kNone) continue;  // judged apart
    all.push_back({part.sampling_rate, part.noise_multiplier, part.steps});
  }
  return all;
}

bool WithoutNoise(const std::vector<BudgetPart>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const BudgetPart& part) { return part.mechanism == Mechanism::kNone; });
}

std::vector<std::string> Distinct(const std::vector<std::string>& patients) {
  const std::set<std::string> all(patients.begin(), patients.end());
  return {all.begin(), all.end()};
}

absl::Status Spent(const wire::PlanPrivacy& terms) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("privacy budget: epsilon %g at delta %g of the study is spent at this site",
                      terms.epsilon, terms.delta));
}

// Steps of level sample that still fit the plan's budget, beside what each patient spent in it.
absl::StatusOr<int64_t> StepsLeft(const BudgetLedger& ledger, const SiteTask& task,
                                  const std::vector<std::string>& patients,
                                  const BudgetPart& part) {
  const wire::PlanPrivacy& terms = task.plan.privacy;
  int64_t left = part.steps;
  for (const std::vector<BudgetPart>& spent : ledger.PartsIn(task.study, patients)) {
    if (WithoutNoise(spent)) return 0;
    const dp::SampledGaussian next = {part.sampling_rate, part.noise_multiplier, part.steps};
    std::vector<dp::SampledGaussian> all = Gaussians(spent);
    all.push_back(next);
    CSL_ASSIGN_OR_RETURN(const double epsilon, dp::SpentEpsilon(all, terms.delta));
    if (epsilon <= terms.epsilon) continue;
    all.pop_back();
    CSL_ASSIGN_OR_RETURN(const int64_t fit,
                         dp::StepsThatFit(all, next, {terms.epsilon, terms.delta}));
    left = std::min(left, fit);
  }
  return left;
}

}  // namespace

absl::StatusOr<SampleNoise> SampleNoiseFor(const wire::Plan& plan, int64_t patients) {
  if (patients < 1) return absl::InvalidArgumentError("no patients");
  SampleNoise noise;
  noise.sampling_rate =
      std::min(1.0, plan.privacy.patients_per_step / static_cast<double>(patients));
  CSL_ASSIGN_OR_RETURN(
      noise.noise_multiplier,
      dp::CalibrateNoise({plan.privacy.epsilon, plan.privacy.delta}, noise.sampling_rate,
                         plan.training.rounds * plan.training.steps_per_round));
  return noise;
}

absl::StatusOr<BudgetPart> RoundPart(const wire::Plan& plan, int64_t patients) {
  const wire::PlanPrivacy& terms = plan.privacy;
  if (terms.level == "site") {
    return BudgetPart{Mechanism::kDiscreteGaussian, 1, terms.noise_multiplier * kSiteNoiseMargin,
                      1};
  }
  if (terms.level == "none") {
    return BudgetPart{Mechanism::kNone, 1, 0, std::max<int64_t>(1, plan.training.steps_per_round)};
  }
  CSL_ASSIGN_OR_RETURN(const SampleNoise noise, SampleNoiseFor(plan, patients));
  return BudgetPart{Mechanism::kDiscreteGaussian, noise.sampling_rate, noise.noise_multiplier,
                    plan.training.steps_per_round};
}

absl::StatusOr<std::vector<std::string>> PatientsWithinBudget(
    const BudgetLedger& ledger, const wire::Plan& plan, const std::vector<std::string>& patients,
    const PatientBudget& limit) {
  const std::vector<std::string> all = Distinct(patients);
  if (!limit.epsilon || plan.privacy.level == "none") return all;
  CSL_ASSIGN_OR_RETURN(const BudgetPart part, RoundPart(plan, static_cast<int64_t>(all.size())));
  std::vector<std::string> within = ledger.WithinBudget(all, part, limit);
  return within.empty() ? all : within;
}

absl::StatusOr<PrivacySpending> PrivacySpending::Begin(BudgetLedger& ledger, const SiteTask& task,
                                                       const std::vector<std::string>& patients,
                                                       const PatientBudget& limit) {
  PrivacySpending spending(ledger, task, Distinct(patients));
  const auto count = static_cast<int64_t>(spending.patients_.size());
  CSL_ASSIGN_OR_RETURN(spending.part_, RoundPart(task.plan, count));
  if (task.plan.privacy.level == "sample") {
    CSL_ASSIGN_OR_RETURN(const int64_t left,
                         StepsLeft(ledger, task, spending.patients_, spending.part_));
    if (left == 0) return Spent(task.plan.privacy);
    spending.part_.steps = std::min(spending.part_.steps, left);
    const int64_t affordable = ledger.AffordableSteps(spending.patients_, spending.part_, limit);
    spending.part_.steps = std::max<int64_t>(1, affordable);  // none: Reserve says why
  }
  Charge charge;
  charge.study = task.study;
  charge.round = task.round;
  charge.task_id = task.task_id;
  charge.part = spending.part_;
  charge.delta = task.plan.privacy.delta;
  CSL_ASSIGN_OR_RETURN(spending.reservation_, ledger.Reserve(spending.patients_, charge, limit));
  return spending;
}

absl::Status PrivacySpending::Finish(int64_t steps_begun) {
  if (terms_.level == "sample") {
    part_.steps = std::clamp<int64_t>(steps_begun, 0, part_.steps);
  }
  return ledger_->Settle(reservation_, part_.steps);
}

std::string PrivacySpending::Text() const {
  if (terms_.level == "none") return "no guarantee: trained without noise";
  double worst = 0;
  for (const std::vector<BudgetPart>& parts : ledger_->PartsIn(study_, patients_)) {
    const absl::StatusOr<double> epsilon = dp::SpentEpsilon(Gaussians(parts), terms_.delta);
    if (WithoutNoise(parts) || !epsilon.ok()) {
      return "no guarantee: the study also trained without noise";
    }
    worst = std::max(worst, *epsilon);
  }
  return absl::StrFormat("epsilon %.4g of %g at delta %g spent", worst, terms_.epsilon,
                         terms_.delta);
}

}  // namespace consilium::agent
