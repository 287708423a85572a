// The part of StudyRun that runs an evaluation.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/round/study_run.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kEvaluatedCasesMax = 100'000;
constexpr size_t kPseudonymBytesMax = 128;

bool IsPrintable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

// The number of cases need not be that of the cohort report: a site's data grows.
absl::Status CheckCases(const std::vector<CaseDiceRecord>& cases, size_t labels) {
  if (cases.size() > kEvaluatedCasesMax) {
    return absl::InvalidArgumentError(absl::StrCat("evaluation: ", cases.size(),
                                                   " cases where at most ", kEvaluatedCasesMax,
                                                   " are taken"));
  }
  for (const CaseDiceRecord& one : cases) {
    if (one.dice.size() != labels || one.case_pseudonym.size() > kPseudonymBytesMax ||
        !IsPrintable(one.case_pseudonym)) {
      return absl::InvalidArgumentError("evaluation: each case needs a Dice value for each label");
    }
    for (const double dice : one.dice) {
      if (!std::isnan(dice) && (dice < 0 || dice > 1)) {
        return absl::InvalidArgumentError("evaluation: a Dice value lies between 0 and 1");
      }
    }
  }
  return absl::OkStatus();
}

std::vector<double> MeanDice(const std::vector<CaseDiceRecord>& cases, size_t labels) {
  std::vector<double> mean(labels, std::numeric_limits<double>::quiet_NaN());
  for (size_t label = 0; label < labels; ++label) {
    double sum = 0;
    int64_t count = 0;
    for (const CaseDiceRecord& one : cases) {
      if (std::isnan(one.dice[label])) continue;
      sum += one.dice[label];
      ++count;
    }
    if (count > 0) mean[label] = sum / static_cast<double>(count);
  }
  return mean;
}

}  // namespace

void StudyRun::OpenEvaluation(absl::Time now, Step& step) {
  EvaluationRecord evaluation;
  evaluation.study = record_.name;
  evaluation.version = record_.latest_version;
  evaluation.number = round_->record().number;
  evaluation.started_us = absl::ToUnixMicros(now);
  evaluation.deadline_us = absl::ToUnixMicros(now + spec_.deadline);
  for (const CohortRecord& cohort : record_.cohort) {
    const bool evaluator = spec_.IsEvaluator(cohort.site);
    const int64_t cases_max = evaluator ? cohort.labelled_cases : cohort.held_out_cases;
    const SiteView* site = FindSite(sites_, cohort.site);
    if (cases_max == 0 || site == nullptr || !site->approved) continue;
    SiteEvaluationRecord entry;
    entry.site = cohort.site;
    entry.role = evaluator ? "evaluator" : "trainer";
    entry.task_id = TaskId(TaskKind::kEvaluate, evaluation.number, cohort.site);
    entry.cases_max = cases_max;
    evaluation.sites.push_back(std::move(entry));
  }
  AuditFacts facts = Facts("evaluation.open");
  facts.version = evaluation.version;
  facts.count = static_cast<int64_t>(evaluation.sites.size());
  AddAbsentEvaluators(record_.rounds_committed >= spec_.rounds, evaluation, step);
  step.audit.push_back(std::move(facts));
  evaluation_ = std::move(evaluation);
  leases_from_ = now;
  Enter(Stage::kEvaluating, now);
  SettleEvaluation(now, step);
}

void StudyRun::OnEvaluationTime(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  const bool over = absl::ToUnixMicros(now) > evaluation_->deadline_us;
  bool reported = false, all_idle = true;
  for (const SiteEvaluationRecord& entry : evaluation_->sites) {
    if (entry.state == ReportState::kReported) reported = true;
    if (entry.state == ReportState::kAwaited && WhyIdle(entry.site, now).empty()) all_idle = false;
  }
  bool dropped = false;
  for (SiteEvaluationRecord& entry : evaluation_->sites) {
    if (entry.state != ReportState::kAwaited) continue;
    std::string reason = WhyGone(sites, entry.site);
    if (reason.empty() && over) reason = "no report before the deadline";
    if (reason.empty() && reported && all_idle) reason = WhyIdle(entry.site, now);
    if (reason.empty()) continue;
    MarkMissing(entry, reason, step);
    dropped = true;
  }
  if (dropped) SettleEvaluation(now, step);
}

void StudyRun::SettleEvaluation(absl::Time now, Step& step) {
  const bool all = std::none_of(
      evaluation_->sites.begin(), evaluation_->sites.end(),
      [](const SiteEvaluationRecord& entry) { return entry.state == ReportState::kAwaited; });
  if (all) {
    evaluation_->ended_us = absl::ToUnixMicros(now);
    AuditFacts facts = Facts("evaluation.close");
    facts.version = evaluation_->version;
    facts.count = std::count_if(
        evaluation_->sites.begin(), evaluation_->sites.end(),
        [](const SiteEvaluationRecord& entry) { return entry.state == ReportState::kReported; });
    step.audit.push_back(std::move(facts));
    if (record_.rounds_committed >= spec_.rounds) {
      Enter(Stage::kIdle, now);
      End(StudyState::kFinished, "", step);
    } else {
      Enter(Stage::kBetweenRounds, now);
    }
  }
  step.evaluations.push_back(*evaluation_);
}

void StudyRun::MarkMissing(SiteEvaluationRecord& entry, absl::string_view reason,
                           Step& step) const {
  entry.state = ReportState::kMissing;
  entry.reason = std::string(reason);
  AuditFacts facts = Facts("evaluation.drop");
  facts.site = entry.site;
  facts.version = record_.latest_version;
  facts.reason = std::string(reason);
  step.audit.push_back(std::move(facts));
}

// The evaluators that the study names and that have nothing to be asked for.
void StudyRun::AddAbsentEvaluators(bool last, EvaluationRecord& evaluation, Step& step) const {
  for (const std::string& name : spec_.evaluators) {
    const bool asked = std::any_of(evaluation.sites.begin(), evaluation.sites.end(),
                                   [&](const SiteEvaluationRecord& e) { return e.site == name; });
    if (asked) continue;
    SiteEvaluationRecord entry;
    entry.site = name;
    entry.role = "evaluator";
    entry.task_id = TaskId(TaskKind::kEvaluate, evaluation.number, name);
    const SiteView* site = FindSite(sites_, name);
    if (site == nullptr || !site->approved) {
      MarkMissing(entry, "not approved", step);
    } else if (Cohort(name) != nullptr) {
      MarkMissing(entry, "no labelled case", step);
    } else if (!last || !site->connected) {
      MarkMissing(entry, "has not reported its data", step);
    }
    evaluation.sites.push_back(std::move(entry));
  }
}

absl::Status StudyRun::OnEvaluationReport(absl::string_view site, absl::string_view task_id,
                                          std::vector<CaseDiceRecord> cases, absl::Time now,
                                          Step& step) {
  const auto gone = [] {
    return absl::FailedPreconditionError("no such EVALUATE task is awaited; ask for the next task");
  };
  if (!evaluation_) return gone();
  for (SiteEvaluationRecord& entry : evaluation_->sites) {
    if (entry.site != site || entry.task_id != task_id) continue;
    if (entry.state == ReportState::kReported) return absl::OkStatus();
    if (entry.state != ReportState::kAwaited || ended()) return gone();
    if (absl::Status wrong = CheckCases(cases, spec_.labels.size()); !wrong.ok()) {
      MarkMissing(entry, wrong.message(), step);
      SettleEvaluation(now, step);
      return wrong;
    }
    entry.mean_dice = MeanDice(cases, spec_.labels.size());
    entry.cases = std::move(cases);
    entry.state = ReportState::kReported;
    AuditFacts facts = Facts("evaluation.report");
    facts.actor = facts.site = std::string(site);
    facts.role = "site";
    facts.version = evaluation_->version;
    facts.count = static_cast<int64_t>(entry.cases.size());
    step.audit.push_back(std::move(facts));
    SettleEvaluation(now, step);
    return absl::OkStatus();
  }
  return gone();
}

}  // namespace consilium::coordinator
