#include "tests/sim/sim_coordinator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::sim {

using namespace coordinator;  // NOLINT: the simulated program is this one

namespace {

constexpr absl::Duration kConnectedFor = absl::Seconds(90);
constexpr absl::Duration kDownMax = absl::Seconds(30);

absl::Status Down() { return absl::UnavailableError("the coordinator is down"); }

// What the stored bytes say, as a restart reads them.
template <typename Record>
Record Reread(const Record& record) {
  return Decode<Record>(Encode(record)).value();
}

}  // namespace

void SimCoordinator::Add(StudyRun run) {
  run.NoteFederation("sim");
  const std::string name = run.record().name;
  disk_.studies[name] = run.record();
  runs_[name] = std::make_shared<const StudyRun>(std::move(run));
  Control(name, "start");
}

const StudyRun* SimCoordinator::Run(const std::string& study) const {
  const auto it = runs_.find(study);
  return it == runs_.end() ? nullptr : it->second.get();
}

std::vector<SiteView> SimCoordinator::Views() const {
  std::vector<SiteView> views;
  for (const auto& [site, approved] : disk_.approved) {
    const SiteState gone = bug_ == Bug::kKeepRevoked ? SiteState::kSuspended : SiteState::kRevoked;
    SiteView view = {site, approved, false, Name(approved ? SiteState::kApproved : gone)};
    view.capabilities = ~uint32_t{0};
    if (const auto it = heard_.find(site); it != heard_.end()) {
      view.connected = approved && world_.now() - it->second < kConnectedFor;
    }
    views.push_back(std::move(view));
  }
  liveness_.Fill(views);
  liveness_.Fill(views);
  return views;
}

absl::Status SimCoordinator::Heard(const std::string& site) {
  if (!up_) return Down();
  if (!disk_.approved.at(site)) return absl::PermissionDeniedError("revoked");
  heard_[site] = world_.now();
  liveness_.Heard(site, world_.now());
  return absl::OkStatus();
}

absl::Status SimCoordinator::Change(const std::string& study, const Event& event) {
  StudyRun run = *runs_.at(study);
  coordinator::Step step;
  Writes writes;
  const absl::Time now = world_.now();
  const absl::Status result =
      TakeTurn(run, Views(), now, step,
               [&](StudyRun& changing, coordinator::Step& out) {
                 return event(changing, out, writes, now);
               });
  if (step.changed()) CSL_RETURN_IF_ERROR(Commit(run, step, writes));
  runs_[study] = std::make_shared<const StudyRun>(std::move(run));
  Execute(study, step.effects);
  return result;
}

absl::Status SimCoordinator::Commit(const StudyRun& run, coordinator::Step& step, Writes& writes) {
  const bool dies = world_.Chance(world_.faults().crash_at_commit);
  if (dies && world_.Chance(0.5)) {
    Crash();
    return Down();
  }
  const std::string study = run.record().name;
  ++disk_.commits;
  disk_.studies[study] = run.record();
  const bool forgets = bug_ == Bug::kForgetAccepted && !writes.uploads.empty() && world_.Chance(0.1);
  for (const RoundRecord& round : step.rounds) {
    if (!forgets) disk_.rounds[{study, round.number}] = round;
  }
  for (const AgreementRecord& a : step.agreements) {
    if (bug_ == Bug::kForgetAgreement && world_.Chance(0.1)) continue;
    disk_.agreements[{a.study, a.round, a.site}] = a;
  }
  for (const AgreementRecord& a : step.ended_agreements) {
    disk_.agreements.erase({a.study, a.round, a.site});
  }
  for (const EvaluationRecord& e : step.evaluations) disk_.evaluations[{study, e.number}] = e;
  for (const UploadRecord& upload : writes.uploads) disk_.uploads[upload.upload_id] = upload;
  for (const std::string& upload : writes.deleted_uploads) disk_.uploads.erase(upload);
  for (const auto& [digest, values] : writes.models) disk_.models[digest] = values;
  for (const VersionRecord& version : writes.versions) disk_.versions[study].push_back(version);
  for (AuditFacts& facts : step.audit) disk_.audit.push_back(facts);
  if (!dies) return absl::OkStatus();
  Crash();
  return Down();
}

void SimCoordinator::Crash() {
  if (!up_) return;
  ++world_.counts.coordinator_crashes;
  up_ = false;
  ++life_;
  runs_.clear();
  heard_.clear();
  liveness_ = {};
  if (world_.Chance(world_.faults().staged_lost)) {
    std::erase_if(disk_.staged, [&](const auto&) { return world_.Chance(0.5); });
  }
  world_.After(world_.Between(absl::Seconds(1), kDownMax), [this] { Restart(); });
}

void SimCoordinator::Restart() {
  up_ = true;
  worker_free_ = world_.now();
  for (const auto& [name, study] : disk_.studies) {
    std::optional<RoundRecord> round;
    std::optional<EvaluationRecord> evaluation;
    const int64_t number = study.stage == Stage::kInitialising ? 0 : study.round;
    if (const auto it = disk_.rounds.find({name, number}); it != disk_.rounds.end()) {
      round = Reread(it->second);
    }
    for (const auto& [key, record] : disk_.evaluations) {
      if (key.first == name) evaluation = Reread(record);
    }
    std::vector<AgreementRecord> agreements;
    for (const auto& [key, record] : disk_.agreements) {
      if (std::get<0>(key) == name && std::get<1>(key) == number) {
        agreements.push_back(Reread(record));
      }
    }
    absl::StatusOr<StudyRun> run = StudyRun::FromRecords(
        Reread(study), std::move(round), std::move(evaluation), std::move(agreements));
    if (!run.ok()) return world_.Fail(absl::StrCat("restart: ", run.status().message()));
    run->NoteFederation("sim");
    run->OnRestart(world_.now());
    const std::set<int64_t> keep = run->StagedRounds();
    std::erase_if(disk_.staged, [&](const auto& entry) {
      return std::get<0>(entry.first) == name && !keep.contains(std::get<1>(entry.first));
    });
    const std::vector<StudyEffect> effects = run->Resume();
    runs_[name] = std::make_shared<const StudyRun>(*std::move(run));
    Execute(name, effects);
  }
}

void SimCoordinator::Tick() {
  if (!up_) return;
  for (const auto& [name, record] : disk_.studies) {
    if (!up_) return;
    const StudyState state = runs_.at(name)->record().state;
    if (state != StudyState::kPreparing && state != StudyState::kRunning) continue;
    Change(name, [](StudyRun&, coordinator::Step&, Writes&, absl::Time) {
      return absl::OkStatus();
    }).IgnoreError();
  }
}

void SimCoordinator::Control(const std::string& study, const std::string& action) {
  if (!up_) return;
  Change(study, [&](StudyRun& run, coordinator::Step& step, Writes&, absl::Time now) {
    return run.OnControl(action, "", now, step);
  }).IgnoreError();
}

void SimCoordinator::Revoke(const std::string& site) {
  disk_.approved[site] = false;
  for (const auto& [name, record] : disk_.studies) {
    if (!up_) return;
    Change(name, [&](StudyRun& run, coordinator::Step& step, Writes&, absl::Time now) {
      run.OnSiteGone(site, "the site was revoked", now, step);
      return absl::OkStatus();
    }).IgnoreError();
  }
}

absl::StatusOr<SimCoordinator::NextAnswer> SimCoordinator::NextTask(
    const std::string& site, const std::vector<std::string>& spooled) {
  CSL_RETURN_IF_ERROR(Heard(site));
  liveness_.Rests(site);
  NextAnswer answer;
  answer.ended = spooled;
  for (const auto& [name, run] : runs_) {
    std::optional<SiteTask> task = run->TaskFor(site, world_.now());
    if (task && (!answer.task || task->since_us < answer.task->since_us)) {
      answer.task = std::move(task);
    }
    std::erase_if(answer.ended, [&](const std::string& task_id) {
      return run->Needs(site, task_id, world_.now());
    });
  }
  return answer;
}

absl::Status SimCoordinator::ReportCohort(const CohortRecord& report, const std::string& task_id) {
  CSL_RETURN_IF_ERROR(Heard(report.site));
  for (const auto& [name, run] : runs_) {
    if (run->TaskId(TaskKind::kPrepare, 0, report.site) != task_id) continue;
    return Change(name, [&](StudyRun& changing, coordinator::Step& step, Writes&, absl::Time now) {
      return changing.OnCohortReport(report, task_id, now, step);
    });
  }
  return absl::FailedPreconditionError("no such task");
}

absl::Status SimCoordinator::ReportEvaluation(const std::string& site, const std::string& task_id,
                                              const std::vector<CaseDiceRecord>& cases) {
  CSL_RETURN_IF_ERROR(Heard(site));
  for (const auto& [name, run] : runs_) {
    if (!run->KnowsTask(site, task_id)) continue;
    return Change(name, [&](StudyRun& changing, coordinator::Step& step, Writes&, absl::Time now) {
      return changing.OnEvaluationReport(site, task_id, cases, now, step);
    });
  }
  return absl::FailedPreconditionError("no such task");
}

absl::Status SimCoordinator::ReportProgress(const std::string& site,
                                            const SiteProgress& progress) {
  CSL_RETURN_IF_ERROR(Heard(site));
  for (const auto& [name, run] : runs_) {
    if (!run->Awaits(site, progress.task_id, world_.now())) continue;
    liveness_.Report(site, name, progress, world_.now());
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("not awaited");
}

absl::StatusOr<MaskedRound::Agreement> SimCoordinator::AgreeKeys(
    const std::string& site, const std::string& task_id, const StudyRun::AgreeKeys& said) {
  CSL_RETURN_IF_ERROR(Heard(site));
  for (const auto& [name, run] : runs_) {
    if (!run->KnowsTask(site, task_id)) continue;
    const std::string study = name;
    if (run->AwaitsKeys(site, task_id, said)) {
      CSL_RETURN_IF_ERROR(
          Change(study, [&](StudyRun& changing, coordinator::Step& step, Writes&, absl::Time) {
            return changing.OnAgreeKeys(
                site, task_id, said, [](const SiteKeys&) { return absl::OkStatus(); }, step);
          }));
    }
    return runs_.at(study)->AgreementFor(site, task_id);
  }
  return absl::NotFoundError("no such task");
}

absl::Status SimCoordinator::Consent(const std::string& site, const std::string& task_id,
                                     const secagg::Consent& consent) {
  CSL_RETURN_IF_ERROR(Heard(site));
  for (const auto& [name, run] : runs_) {
    if (!run->KnowsTask(site, task_id)) continue;
    return Change(name, [&](StudyRun& changing, coordinator::Step& step, Writes&, absl::Time) {
      return changing.OnConsent(site, task_id, consent, step);
    });
  }
  return absl::FailedPreconditionError("no such task");
}

absl::Status SimCoordinator::Reveal(const std::string& site, const std::string& task_id,
                                    const secagg::RevealMessage& message) {
  CSL_RETURN_IF_ERROR(Heard(site));
  for (const auto& [name, run] : runs_) {
    if (!run->KnowsTask(site, task_id)) continue;
    return Change(name, [&](StudyRun& changing, coordinator::Step& step, Writes&, absl::Time now) {
      return changing.OnReveal(site, task_id, message, now, step);
    });
  }
  return absl::FailedPreconditionError("no such task");
}

absl::Status SimCoordinator::Decline(const std::string& site, const std::string& task_id) {
  CSL_RETURN_IF_ERROR(Heard(site));
  for (const auto& [name, run] : runs_) {
    if (!run->KnowsTask(site, task_id)) continue;
    return Change(name, [&](StudyRun& changing, coordinator::Step& step, Writes&, absl::Time now) {
      return changing.OnDeclined(site, task_id, "no space left at the site", now, step);
    });
  }
  return absl::FailedPreconditionError("no such task");
}

}  // namespace consilium::sim
