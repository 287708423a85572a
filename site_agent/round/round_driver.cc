#include "site_agent/round/round_driver.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "proto/base/check.h"
#include "proto/base/status.h"
#include "proto/wire/retry.h"
#include "site_agent/round/task_monitor.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

absl::string_view DiscardText(DiscardReason reason) {
  switch (reason) {
    case DiscardReason::kDelivered:
      return "delivered";
    case DiscardReason::kEnded:
      return "its task has ended";
    case DiscardReason::kRefused:
      return "refused";
    case DiscardReason::kSuperseded:
      return "superseded";
    case DiscardReason::kTooMany:
      return "too many";
  }
  CSL_CHECK(false);
}

constexpr int kKeepTriesMax = 8;  // of writing a result to a full disk: minutes
constexpr absl::Duration kUnsyncedMax = absl::Seconds(5);  // that an update is on its way unsynced

LogField CodeOf(const absl::Status& status) {
  return LogField(Key::kCode, absl::StatusCodeToString(status.code()));
}

}  // namespace

RoundDriver::RoundDriver(Federation& remote, Spool& spool, TaskWork work, const Clock& clock,
                         const std::atomic<bool>& stop, DriverOptions options)
    : remote_(remote),
      spool_(spool),
      work_(std::move(work)),
      clock_(clock),
      stop_(stop),
      options_(std::move(options)) {}

absl::Status RoundDriver::Run() {
  CSL_ASSIGN_OR_RETURN(const std::vector<FinishedTask> spooled, spool_.List());
  std::vector<TaskKey> keys;
  for (const FinishedTask& finished : spooled) keys.push_back(finished.key);
  SiteRound round(std::move(keys));
  std::deque<Effect> queue;
  for (Effect& effect : round.Start()) queue.push_back(std::move(effect));
  while (!queue.empty() && !stop_) {
    const Effect effect = std::move(queue.front());
    queue.pop_front();
    for (Effect& item : Execute(round, effect)) queue.push_back(std::move(item));
  }
  return absl::OkStatus();
}

std::vector<Effect> RoundDriver::Execute(SiteRound& round, const Effect& effect) {
  if (std::holds_alternative<AskForTask>(effect)) return Ask(round);
  if (std::holds_alternative<Work>(effect)) return DoWork(round);
  if (const auto* deliver = std::get_if<Deliver>(&effect)) {
    return DeliverResult(round, deliver->task_id);
  }
  if (const auto* decline = std::get_if<Decline>(&effect)) {
    return DeclineTask(round, decline->task_id);
  }
  if (const auto* discard = std::get_if<Discard>(&effect)) {
    DiscardResult(*discard);
    return {};
  }
  if (!options_.sleep(DelayFor(std::get<Wait>(effect)))) return {};
  return round.OnWaited();
}

void RoundDriver::NoteFailure(const absl::Status& failed) {
  come_back_after_ = wire::RetryAfter(failed).value_or(absl::ZeroDuration());
}

absl::Duration RoundDriver::DelayFor(const Wait& wait) {
  const double spread = options_.uniform ? options_.uniform() / 2 : 0;
  const absl::Duration asked = come_back_after_ * (1 + spread);
  come_back_after_ = absl::ZeroDuration();
  const absl::Duration delay = std::max(options_.delay(wait.failures), asked);
  if (wait.refusals == 0) return delay;
  absl::Duration refused = options_.refused_wait;
  for (int i = 1; i < wait.refusals && refused < options_.refused_wait_max; ++i) refused *= 2;
  return std::max(delay, std::min(refused, options_.refused_wait_max));
}

std::vector<Effect> RoundDriver::Ask(SiteRound& round) {
  absl::Status failed;
  if (!greeted_) failed = remote_.Hello();
  if (failed.ok()) {
    if (!greeted_) Log(LogLevel::kInfo, "connected to the coordinator");
    greeted_ = true;
    const absl::Duration asked = clock_.Monotonic();
    // What is still spooled after the answer to one question may have to last.
    if (std::exchange(asked_since_kept_, true)) SyncSpool();
    absl::StatusOr<NextAnswer> answer = remote_.NextTask(options_.ask_wait, round.SpooledTaskIds());
    if (answer.ok()) return TakeAnswer(round, *std::move(answer), clock_.Monotonic() - asked);
    failed = answer.status();
  }
  greeted_ = false;
  NoteFailure(failed);
  if (!stop_) {
    Log(LogLevel::kWarning, "no task from the coordinator, trying again",
        {CodeOf(failed), LogField(Key::kReason, failed.message())});
  }
  return round.OnAskFailed();
}

std::vector<Effect> RoundDriver::TakeAnswer(SiteRound& round, NextAnswer answer,
                                            absl::Duration took) {
  std::vector<Effect> effects = round.OnEnded(answer.ended_task_ids);
  std::vector<Effect> next;
  if (answer.task) {
    task_ = *std::move(answer.task);
    Log(LogLevel::kInfo, "task",
        {LogField(Key::kStudy, task_->study), LogField(Key::kRound, task_->round),
         LogField(Key::kTask, task_->task_id), LogField(Key::kAction, TaskKindName(task_->kind))});
    next = round.OnTask(KeyOf(*task_));
  } else {
    if (took < options_.ask_interval_min && !options_.sleep(options_.ask_interval_min - took)) {
      return {};
    }
    next = round.OnNoTask();
  }
  effects.insert(effects.end(), next.begin(), next.end());
  return effects;
}

void RoundDriver::SyncSpool() {
  const absl::Status synced = spool_.Sync();
  if (synced.ok()) return;
  Log(LogLevel::kWarning, "the spool could not be synced, trying again later",
      {CodeOf(synced), LogField(Key::kReason, synced.message())});
}

std::vector<Effect> RoundDriver::DoWork(SiteRound& round) {
  CSL_CHECK(task_.has_value());
  SyncSpool();
  const absl::Duration started = clock_.Monotonic();
  const absl::StatusOr<FinishedTask> finished = work_(*task_);
  const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - started);
  if (!finished.ok()) {
    Log(stop_ ? LogLevel::kInfo : LogLevel::kWarning, "task given up",
        {LogField(Key::kTask, task_->task_id), CodeOf(finished.status()),
         LogField(Key::kReason, finished.status().message()), LogField(Key::kSeconds, seconds)});
    return GiveUp(round, finished.status());
  }
  if (const absl::Status kept = KeepResult(*finished); !kept.ok()) {
    // Stopping: the next start finds no result and trains again, which is all that is left.
    if (absl::IsCancelled(kept)) return {};
    spool_.Remove(task_->task_id);
    decline_reason_ = DeclineReason(kept);
    return round.OnWorkFailed(WorkFailure::kHopeless);  // it was tried long enough
  }
  Log(LogLevel::kInfo, "task done",
      {LogField(Key::kTask, task_->task_id), LogField(Key::kSeconds, seconds)});
  return round.OnWorkDone();
}

std::vector<Effect> RoundDriver::GiveUp(SiteRound& round, const absl::Status& why) {
  spool_.Remove(task_->task_id);
  NoteFailure(why);  // it may say when it is worth while to try again
  decline_reason_ = DeclineReason(why);
  return round.OnWorkFailed(stop_ ? WorkFailure::kElsewhere : ClassifyWork(why));
}

std::vector<Effect> RoundDriver::DeclineTask(SiteRound& round, const std::string& task_id) {
  const absl::Status declined = remote_.Decline(task_id, decline_reason_);
  if (declined.ok()) {
    Log(LogLevel::kWarning, "task declined",
        {LogField(Key::kTask, task_id), LogField(Key::kReason, decline_reason_)});
    return round.OnDeclined();
  }
  NoteFailure(declined);
  Log(LogLevel::kWarning, "task could not be declined",
      {LogField(Key::kTask, task_id), CodeOf(declined),
       LogField(Key::kReason, declined.message())});
  return round.OnDeclineFailed(ClassifyFailure(declined));
}

absl::Status RoundDriver::KeepResult(const FinishedTask& finished) {
  for (int failures = 1;; ++failures) {
    const absl::Status kept = spool_.Keep(finished);
    if (kept.ok()) {
      asked_since_kept_ = false;
      return kept;
    }
    Log(LogLevel::kError, "result cannot be written to the spool, trying again",
        {LogField(Key::kTask, finished.key.task_id), CodeOf(kept),
         LogField(Key::kReason, kept.message())});
    if (failures == kKeepTriesMax) {
      return absl::ResourceExhaustedError("the result could not be written to the spool");
    }
    if (!options_.sleep(options_.delay(failures))) return absl::CancelledError("stopping");
  }
}

absl::Status RoundDriver::Report(const FinishedTask& finished) {
  const std::string& task_id = finished.key.task_id;
  if (const auto* cohort = std::get_if<CohortSummary>(&finished.result)) {
    return remote_.ReportCohort(task_id, *cohort);
  }
  if (const auto* consent = std::get_if<ConsentResult>(&finished.result)) {
    return remote_.SubmitConsent(task_id, *consent);
  }
  if (const auto* reveal = std::get_if<RevealResult>(&finished.result)) {
    return remote_.SubmitReveal(task_id, *reveal);
  }
  return remote_.ReportEvaluation(task_id, std::get<EvaluationResult>(finished.result));
}

absl::StatusOr<UploadOutcome> RoundDriver::Send(const std::string& task_id) {
  CSL_ASSIGN_OR_RETURN(const FinishedTask finished, spool_.Load(task_id));
  if (!std::holds_alternative<UpdateOffer>(finished.result)) {
    CSL_RETURN_IF_ERROR(Report(finished));
    return UploadOutcome{true, ""};
  }
  CSL_CHECK(task_.has_value() && task_->task_id == task_id);  // only what is asked for is sent
  TaskMonitor monitor(*task_, remote_, stop_, clock_);
  const absl::Duration began = clock_.Monotonic();
  return remote_.Upload(finished.key, std::get<UpdateOffer>(finished.result),
                        spool_.UpdatePath(task_id), [&](uint64_t done, uint64_t total) {
                          if (clock_.Monotonic() - began > kUnsyncedMax) SyncSpool();
                          monitor.Report(TaskPhase::kUpload, static_cast<int64_t>(done),
                                         static_cast<int64_t>(total));
                        });
}

std::vector<Effect> RoundDriver::DeliverResult(SiteRound& round, const std::string& task_id) {
  const absl::StatusOr<UploadOutcome> outcome = Send(task_id);
  if (!outcome.ok()) {
    greeted_ = false;
    SyncSpool();  // it may have to wait
    NoteFailure(outcome.status());
    if (!stop_) {
      Log(LogLevel::kWarning, "result not delivered, kept for later",
          {LogField(Key::kTask, task_id), CodeOf(outcome.status()),
           LogField(Key::kReason, outcome.status().message())});
    }
    return round.OnDeliveryFailed(ClassifyFailure(outcome.status()));
  }
  if (!outcome->accepted) {
    Log(LogLevel::kWarning, "update not accepted",
        {LogField(Key::kTask, task_id), LogField(Key::kReason, outcome->reason)});
  }
  const bool held = outcome->accepted && HasUpdate(task_->kind);
  if (held && options_.accepted) options_.accepted(KeyOf(*task_));
  return round.OnDelivered(held ? SiteRound::Delivery::kHeld : SiteRound::Delivery::kDone);
}

void RoundDriver::DiscardResult(const Discard& discard) {
  spool_.Remove(discard.task_id);
  if (options_.discarded) options_.discarded(discard);
  Log(LogLevel::kInfo, "result leaves the spool",
      {LogField(Key::kTask, discard.task_id), LogField(Key::kReason, DiscardText(discard.reason))});
}

}  // namespace consilium::agent
