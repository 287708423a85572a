// The part of StudyRun that hands out tasks.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_run.h"
#include "privacy/crypto/sha256.h"

namespace consilium::coordinator {
namespace {

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

}  // namespace consilium::coordinator
