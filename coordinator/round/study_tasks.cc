// The part of StudyRun that hands out tasks.
#include <algorithm>

#include "absl/strings/str_cat.h"
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
    case TaskKind::kConsent:
      return "consent";
    case TaskKind::kReveal:
      return "reveal";
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
  task.lease = spec_.lease;
  task.since_us = record_.stage_since_us;
  task.evaluator = spec_.IsEvaluator(site);
  const bool fixed = !record_.plan_json.empty();
  task.plan_json = fixed ? record_.plan_json : provisional_->json;
  task.plan_sha256 = fixed ? record_.plan_sha256 : provisional_->sha256;
  return task;
}

bool StudyRun::Awaits(absl::string_view site, absl::string_view task_id, absl::Time now) const {
  if (record_.state == StudyState::kDraft || ended()) return false;
  if (task_id == TaskId(TaskKind::kPrepare, 0, site)) return TakesCohort(site);
  if (const ContributionRecord* own = round_ ? round_->FindTask(task_id) : nullptr;
      own != nullptr && own->site == site) {
    if (round_->is_buffer()) return AwaitsCarried(*own);
    if (!round_->open() || own->outcome != Outcome::kAwaited) return false;
    return DeadlineTime(now) <= round_->deadline();
  }
  if (AwaitsUnmasking(site, task_id)) return true;
  if (record_.stage != Stage::kEvaluating) return false;
  return std::any_of(evaluation_->sites.begin(), evaluation_->sites.end(),
                     [&](const SiteEvaluationRecord& entry) {
                       return entry.site == site && entry.task_id == task_id &&
                              entry.state == ReportState::kAwaited;
                     });
}

bool StudyRun::Needs(absl::string_view site, absl::string_view task_id, absl::Time now) const {
  if (Awaits(site, task_id, now)) return true;
  if (ended() || !round_ || !round_->under_way()) return false;
  const ContributionRecord* own = round_->FindTask(task_id);
  return own != nullptr && own->site == site && own->outcome == Outcome::kAccepted;
}

bool StudyRun::KnowsTask(absl::string_view site, absl::string_view task_id) const {
  if (task_id == TaskId(TaskKind::kPrepare, 0, site)) return true;
  if (const ContributionRecord* own = round_ ? round_->FindTask(task_id) : nullptr) {
    return own->site == site;
  }
  for (const TaskKind kind : {TaskKind::kConsent, TaskKind::kReveal}) {
    if (masked_ && task_id == TaskId(kind, round_->record().number, site)) return true;
  }
  if (!evaluation_) return false;
  return std::any_of(evaluation_->sites.begin(), evaluation_->sites.end(),
                     [&](const SiteEvaluationRecord& entry) {
                       return entry.site == site && entry.task_id == task_id;
                     });
}

absl::Status StudyRun::CheckOffer(const Offer& offer, absl::Time now) const {
  const auto moved_on = [&](absl::string_view why) {
    return absl::FailedPreconditionError(absl::StrCat("round ", offer.round, " of ", record_.name,
                                                      " does not await this update", why,
                                                      "; ask for the next task"));
  };
  const ContributionRecord* own = round_ ? round_->FindTask(offer.task_id) : nullptr;
  if (own == nullptr || own->site != offer.site) return moved_on("");
  const std::string& base =
      round_->is_buffer() ? own->base_sha256 : round_->record().base_sha256;
  if (round_->TaskRound(*own) != offer.round || base != offer.base_sha256) return moved_on("");
  if (own->outcome == Outcome::kAccepted || own->outcome == Outcome::kFolded) {
    return absl::AlreadyExistsError(absl::StrCat("another update of ", offer.site,
                                                 " was accepted for round ", offer.round));
  }
  if (!Awaits(offer.site, offer.task_id, now)) {
    return moved_on(own->reason.empty() ? "" : absl::StrCat(": ", own->reason));
  }
  if (!round_->open()) {
    return absl::UnavailableError("the buffer is closed and the next one not open yet; try again");
  }
  return absl::OkStatus();
}

std::optional<SiteTask> StudyRun::TaskFor(absl::string_view site, absl::Time now) const {
  if (record_.state != StudyState::kPreparing && record_.state != StudyState::kRunning) {
    return std::nullopt;
  }
  // A site without a case is asked again now and then: its data may be on the way.
  const CohortRecord* cohort = Cohort(site);
  const auto prepared = prepared_.find(site);
  const bool rested = prepared == prepared_.end() || now >= prepared->second + kPrepareAgain;
  const SiteView* view = FindSite(sites_, site);
  if (view != nullptr && !Lacks(*view).empty()) return std::nullopt;
  if ((cohort == nullptr || cohort->cases == 0) && rested) {
    SiteTask task = MakeTask(TaskKind::kPrepare, site);
    task.task_id = TaskId(TaskKind::kPrepare, 0, site);
    return task;
  }
  if (std::optional<SiteTask> task = UnmaskingTaskFor(site, now)) return task;
  if (round_ && round_->Awaits(site) && now <= round_->deadline()) {
    const RoundRecord& round = round_->record();
    const ContributionRecord& own = *round_->Find(site);
    SiteTask task = MakeTask(round.number == 0 ? TaskKind::kInitialise : TaskKind::kTrain, site);
    task.task_id = own.task_id;
    task.round = round_->TaskRound(own);
    task.since_us = round.started_us;
    if (round_->is_buffer()) {  // the task outlives the buffer: no deadline
      task.model_version = own.base_version;
      task.model_sha256 = own.base_sha256;
      task.model_bytes = own.base_bytes;
      return task;
    }
    task.deadline = round_->deadline() - now;
    if (round.number > 0) {
      task.model_version = record_.latest_version;
      task.model_sha256 = record_.latest_sha256;
      task.model_bytes = record_.latest_bytes;
      task.control_sha256 = record_.control_sha256;
      task.control_bytes = record_.control_bytes;
    }
    if (round_->is_masked()) {
      MaskingTerms terms = {.masking = round.masking};
      terms.masking.rosters.clear();
      terms.weight_max = std::max<int64_t>(1, own.weight_max_milli / round.masking.weight_unit_milli);
      task.masking = std::move(terms);
    }
    return task;
  }
  if (record_.stage == Stage::kEvaluating) {
    for (const SiteEvaluationRecord& entry : evaluation_->sites) {
      if (entry.site != site || entry.state != ReportState::kAwaited) continue;
      SiteTask task = MakeTask(TaskKind::kEvaluate, site);
      task.task_id = entry.task_id;
      task.round = evaluation_->number;
      task.since_us = evaluation_->started_us;
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
