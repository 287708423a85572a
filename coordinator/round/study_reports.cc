// The part of StudyRun that hands out tasks and takes what sites report of their data: cohorts and
// evaluations.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_run.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kCasesMax = 10'000'000;
constexpr size_t kEvaluatedCasesMax = 100'000;
constexpr size_t kReasonsMax = 64;
constexpr size_t kReasonBytesMax = 128;
constexpr size_t kPseudonymBytesMax = 128;
constexpr double kSizeMax = 8192;     // voxels
constexpr double kSpacingMax = 1000;  // mm
constexpr size_t kTaskDigestChars = 24;

absl::string_view KindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kPrepare:
      return "prepare";
    case TaskKind::kInitialise:
      return "initialise";
    case TaskKind::kTrain:
      return "train";
    case TaskKind::kEvaluate:
      return "evaluate";
  }
  return "?";
}

bool IsPrintable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

bool AllWithin(const std::vector<double>& values, double max) {
  return values.size() == 3 && std::all_of(values.begin(), values.end(), [max](double v) {
           return std::isfinite(v) && v > 0 && v <= max;
         });
}

bool AreFiniteOrNone(const std::vector<double>& values) {
  return values.empty() ||
         (values.size() == 3 && std::all_of(values.begin(), values.end(),
                                            [](double v) { return std::isfinite(v); }));
}

absl::Status CheckCohort(const CohortRecord& r) {
  if (r.held_out_cases < 0 || r.held_out_cases > r.labelled_cases || r.labelled_cases > r.cases ||
      r.cases > kCasesMax) {
    return absl::InvalidArgumentError(
        "cohort: counts must be 0 <= held out <= labelled <= cases, held-out cases being labelled");
  }
  if (r.cases > 0 && (!AllWithin(r.median_spacing_xyz_mm, kSpacingMax) ||
                      !AllWithin(r.median_size_xyz, kSizeMax))) {
    return absl::InvalidArgumentError("cohort: spacing and size must be three positive numbers each");
  }
  if (r.cases == 0 &&
      (!AreFiniteOrNone(r.median_spacing_xyz_mm) || !AreFiniteOrNone(r.median_size_xyz))) {
    return absl::InvalidArgumentError("cohort: without a case there is no median spacing or size");
  }
  if (r.rejected_by_reason.size() > kReasonsMax) {
    return absl::InvalidArgumentError("cohort: too many reasons of rejection");
  }
  for (const auto& [reason, count] : r.rejected_by_reason) {
    if (reason.size() > kReasonBytesMax || !IsPrintable(reason) || count < 0) {
      return absl::InvalidArgumentError("cohort: a reason of rejection is not a short plain text");
    }
  }
  return absl::OkStatus();
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

std::string StudyRun::TaskId(TaskKind kind, int64_t number, absl::string_view site) const {
  const int64_t attempt = kind == TaskKind::kInitialise ? record_.attempt : 0;
  const std::string digest = privacy::Sha256Hex(absl::StrCat(
      record_.run_id, "\n", KindName(kind), "\n", number, "\n", attempt, "\n", site));
  return absl::StrCat(KindName(kind), "-", number, "-", digest.substr(0, kTaskDigestChars));
}

SiteTask StudyRun::MakeTask(TaskKind kind, absl::string_view site) const {
  SiteTask task;
  task.kind = kind;
  task.study = record_.name;
  task.evaluator = spec_.IsEvaluator(site);
  task.plan_json = record_.plan_json.empty() ? wire::PlanToJson(ProvisionalPlan(spec_))
                                             : record_.plan_json;
  task.plan_sha256 = privacy::Sha256Hex(task.plan_json);
  return task;
}

bool StudyRun::TakesCohort(absl::string_view site) const {
  const CohortRecord* cohort = Cohort(site);
  return cohort == nullptr || cohort->cases == 0 || record_.plan_json.empty();
}

bool StudyRun::Awaits(absl::string_view site, absl::string_view task_id, absl::Time now) const {
  if (record_.state == StudyState::kDraft || ended()) return false;
  if (task_id == TaskId(TaskKind::kPrepare, 0, site)) return TakesCohort(site);
  if (round_ && round_->Awaits(site) && round_->Find(site)->task_id == task_id) {
    return DeadlineTime(now) <= round_->deadline();
  }
  if (record_.stage != Stage::kEvaluating) return false;
  return std::any_of(evaluation_->sites.begin(), evaluation_->sites.end(),
                     [&](const SiteEvaluationRecord& entry) {
                       return entry.site == site && entry.task_id == task_id &&
                              entry.state == ReportState::kAwaited;
                     });
}

std::optional<SiteTask> StudyRun::TaskFor(absl::string_view site, absl::Time now) const {
  if (record_.state != StudyState::kPreparing && record_.state != StudyState::kRunning) {
    return std::nullopt;
  }
  // A site without a case is asked again now and then: its data may be on the way.
  const CohortRecord* cohort = Cohort(site);
  const auto prepared = prepared_.find(site);
  const bool again = cohort != nullptr && cohort->cases == 0 &&
                     (prepared == prepared_.end() || now >= prepared->second + kPrepareAgain);
  if (cohort == nullptr || again) {
    SiteTask task = MakeTask(TaskKind::kPrepare, site);
    task.task_id = TaskId(TaskKind::kPrepare, 0, site);
    return task;
  }
  if (round_ && round_->Awaits(site) && now <= round_->deadline()) {
    const RoundRecord& round = round_->record();
    SiteTask task = MakeTask(round.number == 0 ? TaskKind::kInitialise : TaskKind::kTrain, site);
    task.task_id = round_->Find(site)->task_id;
    task.round = round.number;
    task.deadline = round_->deadline() - now;
    if (round.number > 0) {
      task.model_version = record_.latest_version;
      task.model_sha256 = record_.latest_sha256;
      task.model_bytes = record_.latest_bytes;
    }
    return task;
  }
  if (record_.stage == Stage::kEvaluating) {
    for (const SiteEvaluationRecord& entry : evaluation_->sites) {
      if (entry.site != site || entry.state != ReportState::kAwaited) continue;
      SiteTask task = MakeTask(TaskKind::kEvaluate, site);
      task.task_id = entry.task_id;
      task.round = evaluation_->number;
      task.deadline = absl::FromUnixMicros(evaluation_->deadline_us) - now;
      task.model_version = record_.latest_version;
      task.model_sha256 = record_.latest_sha256;
      task.model_bytes = record_.latest_bytes;
      return task;
    }
  }
  return std::nullopt;
}

std::vector<StudyEffect> StudyRun::Resume() const {
  std::vector<StudyEffect> effects;
  if (!round_) return effects;
  const int64_t number = round_->record().number;
  for (const RoundEffect& effect : round_->Resume()) {
    if (const auto* fold = std::get_if<FoldUpdate>(&effect)) {
      effects.push_back(StudyFold{number, *fold});
    } else {
      effects.push_back(StudyAggregate{number});
    }
  }
  return effects;
}

absl::Status StudyRun::OnCohortReport(const CohortRecord& report, absl::string_view task_id,
                                      absl::Time now, Step& step) {
  if (task_id != TaskId(TaskKind::kPrepare, 0, report.site) || record_.state == StudyState::kDraft ||
      ended()) {
    return absl::FailedPreconditionError("no such PREPARE task is awaited; ask for the next task");
  }
  CSL_RETURN_IF_ERROR(CheckCohort(report));
  if (!TakesCohort(report.site)) return absl::OkStatus();
  prepared_.insert_or_assign(report.site, now);
  CohortRecord cohort = report;
  if (cohort.cases == 0) {
    cohort.median_spacing_xyz_mm.clear();
    cohort.median_size_xyz.clear();
  }
  const CohortRecord* known = Cohort(cohort.site);
  if (known != nullptr && *known == cohort) return absl::OkStatus();
  std::erase_if(record_.cohort, [&](const CohortRecord& c) { return c.site == cohort.site; });
  record_.cohort.push_back(std::move(cohort));
  std::sort(record_.cohort.begin(), record_.cohort.end(),
            [](const CohortRecord& a, const CohortRecord& b) { return a.site < b.site; });
  AuditFacts facts = Facts("cohort.report");
  facts.actor = facts.site = report.site;
  facts.role = "site";
  facts.count = report.cases;
  step.audit.push_back(std::move(facts));
  if (record_.stage != Stage::kEvaluating) return absl::OkStatus();
  for (SiteEvaluationRecord& entry : evaluation_->sites) {  // an evaluator that was still preparing
    if (entry.site != report.site || entry.state != ReportState::kAwaited) continue;
    entry.cases_max = report.labelled_cases;
    if (report.labelled_cases == 0) MarkMissing(entry, "no labelled case", step);
    SettleEvaluation(now, step);
  }
  return absl::OkStatus();
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
  Enter(Stage::kEvaluating, now);
  SettleEvaluation(now, step);
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
