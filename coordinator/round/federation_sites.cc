// The part of FederationDriver that sites ask and tell, less their updates.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/federation_driver.h"
#include "privacy/log/log.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

}  // namespace

absl::Status FederationDriver::ReportCohort(const CohortRecord& report, absl::string_view task_id) {
  for (const RunPtr& run : Runs()) {
    if (run->TaskId(TaskKind::kPrepare, 0, report.site) != task_id) continue;
    return Change(run->record().name, CoordinatorCaller(),
                  [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                    return changing.OnCohortReport(report, task_id, now, step);
                  });
  }
  return absl::FailedPreconditionError("no such PREPARE task is awaited; ask for the next task");
}

absl::Status FederationDriver::ReportEvaluation(absl::string_view site, absl::string_view task_id,
                                                const std::vector<CaseDiceRecord>& cases) {
  for (const RunPtr& run : Runs()) {
    if (!run->evaluation()) continue;
    const auto& entries = run->evaluation()->sites;
    if (std::none_of(entries.begin(), entries.end(), [&](const SiteEvaluationRecord& entry) {
          return entry.site == site && entry.task_id == task_id;
        })) {
      continue;
    }
    return Change(run->record().name, CoordinatorCaller(),
                  [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                    return changing.OnEvaluationReport(site, task_id, cases, now, step);
                  });
  }
  return absl::FailedPreconditionError("no such EVALUATE task is awaited; ask for the next task");
}

FederationDriver::RunPtr FederationDriver::FindTask(absl::string_view site,
                                                    absl::string_view task_id) const {
  for (const RunPtr& run : Runs()) {
    if (run->KnowsTask(site, task_id)) return run;
  }
  return nullptr;
}

absl::StatusOr<MaskedRound::Agreement> FederationDriver::AgreeKeys(
    absl::string_view site, absl::string_view task_id, const StudyRun::AgreeKeys& said,
    const MaskedRound::Verifier& verify) {
  SignOfLife(site);
  const RunPtr run = FindTask(site, task_id);
  if (run == nullptr) return absl::NotFoundError("no such task is awaited; ask for the next one");
  if (run->AwaitsKeys(site, task_id, said)) {
    CSL_RETURN_IF_ERROR(verify(said.keys));  // takes its time: before the turn
    CSL_RETURN_IF_ERROR(
        Change(run->record().name, CoordinatorCaller(),
               [&](StudyRun& changing, Step& step, Batch&, absl::Time) {
                 return changing.OnAgreeKeys(
                     site, task_id, said, [](const SiteKeys&) { return absl::OkStatus(); }, step);
               }));
  }
  const RunPtr now = Find(run->record().name);
  return now->AgreementFor(site, task_id);
}

absl::StatusOr<std::vector<std::string>> FederationDriver::MaskingRoster(
    absl::string_view site, absl::string_view task_id) const {
  const RunPtr run = FindTask(site, task_id);
  if (run == nullptr || !run->masked()) {
    return absl::NotFoundError("no such task is awaited; ask for the next one");
  }
  std::vector<std::string> roster = run->masked()->RosterOf(site);
  if (roster.empty()) {
    return absl::FailedPreconditionError("the sites that agree on keys are not known yet");
  }
  return roster;
}

absl::Status FederationDriver::Consent(absl::string_view site, absl::string_view task_id,
                                       const secagg::Consent& consent) {
  SignOfLife(site);
  const RunPtr run = FindTask(site, task_id);
  if (run == nullptr) {
    return absl::FailedPreconditionError("the task is no longer awaited; ask for the next task");
  }
  return Change(run->record().name, CoordinatorCaller(),
                [&](StudyRun& changing, Step& step, Batch&, absl::Time) {
                  return changing.OnConsent(site, task_id, consent, step);
                });
}

absl::Status FederationDriver::Reveal(absl::string_view site, absl::string_view task_id,
                                      const secagg::RevealMessage& message) {
  SignOfLife(site);
  const RunPtr run = FindTask(site, task_id);
  if (run == nullptr) {
    return absl::FailedPreconditionError("the task is no longer awaited; ask for the next task");
  }
  return Change(run->record().name, CoordinatorCaller(),
                [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                  return changing.OnReveal(site, task_id, message, now, step);
                });
}

absl::Status FederationDriver::Decline(absl::string_view site, absl::string_view task_id,
                                       absl::string_view reason) {
  SignOfLife(site);
  for (const RunPtr& run : Runs()) {
    if (!run->KnowsTask(site, task_id)) continue;
    return Change(run->record().name, CoordinatorCaller(),
                  [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                    return changing.OnDeclined(site, task_id, reason, now, step);
                  });
  }
  return absl::FailedPreconditionError("the task is no longer awaited; ask for the next task");
}

void FederationDriver::SignOfLife(absl::string_view site) {
  const absl::Time now = Now();
  absl::MutexLock lock(&mutex_);
  liveness_.Heard(site, now);
}

void FederationDriver::SignOfProgress(absl::string_view site) {
  const absl::Time now = Now();
  absl::MutexLock lock(&mutex_);
  liveness_.Moved(site, now);
}

std::optional<Liveness::Work> FederationDriver::WorkOf(absl::string_view site) const {
  absl::MutexLock lock(&mutex_);
  return liveness_.WorkOf(site);
}

absl::Duration FederationDriver::ShortestLease() const {
  absl::MutexLock lock(&mutex_);
  absl::Duration shortest = kLeaseDefault;
  for (const auto& [name, run] : studies_) {
    const StudyState state = run->record().state;
    const bool active = state == StudyState::kPreparing || state == StudyState::kRunning;
    if (active) shortest = std::min(shortest, run->spec().lease);
  }
  return shortest;
}

absl::Status FederationDriver::ReportProgress(absl::string_view site,
                                              const SiteProgress& progress) {
  static constexpr absl::string_view kPhases[] = {"prepare", "download", "train",
                                                  "agree",   "evaluate", "upload"};
  if (std::find(std::begin(kPhases), std::end(kPhases), progress.phase) == std::end(kPhases)) {
    return absl::InvalidArgumentError("progress: unknown phase");
  }
  const absl::Time now = Now();
  absl::MutexLock lock(&mutex_);
  liveness_.Heard(site, now);
  for (const auto& [name, run] : studies_) {
    if (!run->Awaits(site, progress.task_id, now)) continue;
    SiteProgress& stored = progress_[name][std::string(site)];
    const int64_t up = stored.bytes_up, down = stored.bytes_down;
    const double trained_loss = stored.loss;
    stored = progress;
    // An upload has no loss of its own: the training's stays to be seen.
    if (progress.phase == "upload") stored.loss = trained_loss;
    stored.bytes_up = up;
    stored.bytes_down = down;
    stored.advanced = liveness_.Report(site, name, progress, now);
    ++revision_;
    changed_.SignalAll();
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("the task is no longer awaited; ask for the next task");
}

void FederationDriver::CountBytes(absl::string_view site, int64_t up, int64_t down) {
  if (options_.metrics != nullptr && up > 0) {
    options_.metrics->BytesReceived(site, static_cast<uint64_t>(up));
  }
  const absl::Time now = Now();
  absl::MutexLock lock(&mutex_);
  liveness_.Moved(site, now);
  for (const auto& [name, run] : studies_) {
    if (!run->TaskFor(site, now)) continue;
    SiteProgress& progress = progress_[name][std::string(site)];
    progress.bytes_up += up;
    progress.bytes_down += down;
    return;
  }
}

absl::StatusOr<ModelReader> FederationDriver::OpenModel(absl::string_view sha256) {
  return models_.Open(sha256);
}

void FederationDriver::OnSiteGone(absl::string_view site, absl::string_view reason) {
  for (const RunPtr& run : Runs()) {
    const absl::Status status =
        Change(run->record().name, CoordinatorCaller(),
               [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                 changing.OnSiteGone(site, reason, now, step);
                 return absl::OkStatus();
               });
    if (!status.ok()) {
      Log(LogLevel::kError, "a site's leaving could not be recorded",
          {{Key::kSite, site}, {Key::kReason, status.message()}});
    }
  }
}

}  // namespace consilium::coordinator
