#include "tests/sim/sim_site.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"

namespace consilium::sim {
namespace {

constexpr absl::Duration kCallTimeout = absl::Seconds(10);
constexpr absl::Duration kIdleQuestion = absl::Seconds(5);
constexpr absl::Duration kAwayMax = absl::Seconds(60);
constexpr absl::Duration kHangMax = absl::Seconds(150);
constexpr int64_t kSteps = 8;  // of a task
constexpr absl::Duration kRefusedWait = absl::Seconds(60);
constexpr absl::Duration kAgreeAgain = absl::Seconds(2);

agent::TaskKind KindOf(coordinator::TaskKind kind) {
  switch (kind) {
    case coordinator::TaskKind::kPrepare:
      return agent::TaskKind::kPrepare;
    case coordinator::TaskKind::kInitialise:
      return agent::TaskKind::kInitialise;
    case coordinator::TaskKind::kTrain:
      return agent::TaskKind::kTrain;
    case coordinator::TaskKind::kEvaluate:
      return agent::TaskKind::kEvaluate;
    case coordinator::TaskKind::kConsent:
      return agent::TaskKind::kConsent;
    case coordinator::TaskKind::kReveal:
      return agent::TaskKind::kReveal;
  }
  return agent::TaskKind::kPrepare;
}

}  // namespace

template <typename T>
void SimSite::Call(std::function<T()> heard, std::function<void(const T&)> answered) {
  const auto open = std::make_shared<bool>(true);
  const auto finish = [this, open, life = life_, answered](const T& answer) {
    if (!*open || life != life_ || !alive_) return;
    *open = false;
    if (world_.now() < hangs_until_) {  // the answer waits for the process
      *open = true;
      world_.At(hangs_until_, [this, open, life, answered, answer] {
        if (!*open || life != life_ || !alive_) return;
        *open = false;
        answered(answer);
      });
      return;
    }
    answered(answer);
  };
  world_.Send([this, heard, finish] {
    const T answer = heard();
    world_.Send([finish, answer] { finish(answer); });
  });
  world_.After(kCallTimeout, [finish] { finish(T(absl::UnavailableError("no answer"))); });
}

void SimSite::Start() {
  alive_ = true;
  ++life_;
  working_on_.clear();
  std::vector<agent::TaskKey> spooled;
  for (const std::string& id : spool_order_) spooled.push_back(spool_.at(id).key);
  round_.emplace(std::move(spooled));
  Do(round_->Start());
}

void SimSite::Crash() {
  if (!alive_) return;
  ++world_.counts.site_crashes;
  alive_ = false;
  ++life_;
  if (world_.Chance(world_.faults().spool_lost)) {
    ++world_.counts.lost_spools;
    if (world_.Chance(0.5)) masking_.LoseDisk();  // else only what was not synced
    spool_.clear();
    delivered_.clear();
    spool_order_.clear();
  }
  world_.After(world_.Between(absl::Seconds(1), kAwayMax), [this] { Start(); });
}

void SimSite::Hang() {
  if (!alive_) return;
  ++world_.counts.hangs;
  hangs_until_ = world_.now() + world_.Between(absl::Seconds(5), kHangMax);
}

void SimSite::Stall() {
  if (!alive_ || working_on_.empty()) return;
  ++world_.counts.stalls;
  stalls_until_ = world_.now() + world_.Between(absl::Seconds(5), kHangMax);
}

void SimSite::Do(const std::vector<agent::Effect>& effects) {
  for (const agent::Effect& effect : effects) {
    if (std::holds_alternative<agent::AskForTask>(effect)) {
      Ask();
    } else if (std::holds_alternative<agent::Work>(effect)) {
      Work();
    } else if (const auto* deliver = std::get_if<agent::Deliver>(&effect)) {
      Deliver(deliver->task_id);
    } else if (const auto* decline = std::get_if<agent::Decline>(&effect)) {
      Decline(decline->task_id);
    } else if (const auto* discard = std::get_if<agent::Discard>(&effect)) {
      spool_.erase(discard->task_id);
      std::erase(spool_order_, discard->task_id);
      if (discard->reason == agent::DiscardReason::kTooMany) delivered_.erase(discard->task_id);
    } else {
      const auto& wait = std::get<agent::Wait>(effect);
      const absl::Duration delay = wait.refusals > 0
                                       ? kRefusedWait
                                       : absl::Seconds(std::min(1 << std::min(wait.failures, 4), 16));
      world_.After(delay, [this, life = life_] {
        if (life == life_ && alive_) Do(round_->OnWaited());
      });
    }
  }
}

void SimSite::Ask() {
  using Answer = absl::StatusOr<SimCoordinator::NextAnswer>;
  Call<Answer>([this] { return coordinator_.NextTask(name(), round_->SpooledTaskIds()); },
               [this](const Answer& answer) {
                 if (!answer.ok()) return Do(round_->OnAskFailed());
                 Do(round_->OnEnded(answer->ended));
                 if (!answer->task) {
                   world_.After(kIdleQuestion, [this, life = life_] {
                     if (life == life_ && alive_) Do(round_->OnNoTask());
                   });
                   return;
                 }
                 task_ = *answer->task;
                 Do(round_->OnTask({task_->task_id, KindOf(task_->kind), task_->study,
                                    task_->round}));
               });
}

void SimSite::Work() {
  working_on_ = task_->task_id;
  if (delivered_.contains(working_on_)) {
    return world_.Fail(absl::StrCat(name(), " trains again what it delivered: ", working_on_));
  }
  const bool trains = task_->kind == coordinator::TaskKind::kTrain;
  const absl::Duration takes = trains ? world_.Between(options_.training / 2, options_.training * 2)
                                      : world_.Between(absl::Seconds(1), absl::Seconds(5));
  steps_ = 0;
  agreed_ = false;
  if (task_->masking) Agree(*task_);
  Heartbeat(working_on_);
  DoStep(*task_, takes / kSteps);
}

void SimSite::DoStep(const coordinator::SiteTask& task, absl::Duration takes) {
  const absl::Time stands_until = std::max(hangs_until_, stalls_until_);
  world_.At(std::max(world_.now(), stands_until) + takes, [this, life = life_, task, takes] {
    if (life != life_ || !alive_ || working_on_ != task.task_id) return;
    if (world_.now() < std::max(hangs_until_, stalls_until_)) return DoStep(task, takes);
    if (++steps_ == kSteps) return FinishWork(task);
    DoStep(task, takes);
  });
}

void SimSite::Agree(const coordinator::SiteTask& task) {
  if (working_on_ != task.task_id || agreed_) return;
  const absl::StatusOr<coordinator::StudyRun::AgreeKeys> said = masking_.Say(task);
  if (!said.ok()) return CannotTakePart();
  using Answer = absl::StatusOr<coordinator::MaskedRound::Agreement>;
  Call<Answer>(
      [this, id = task.task_id, said = *said] { return coordinator_.AgreeKeys(name(), id, said); },
      [this, task](const Answer& answer) {
        if (working_on_ != task.task_id || agreed_) return;
        if (!answer.ok() && !absl::IsUnavailable(answer.status())) return CannotTakePart();
        if (answer.ok()) {
          const absl::StatusOr<bool> ready = masking_.Hear(task, *answer);
          if (!ready.ok()) return CannotTakePart();
          agreed_ = *ready;
        }
        world_.After(kAgreeAgain, [this, life = life_, task] {
          if (life == life_ && alive_) Agree(task);
        });
      });
}

void SimSite::CannotTakePart() {
  working_on_.clear();
  Do(round_->OnWorkFailed(agent::WorkFailure::kHopeless));
}

void SimSite::FinishUnmasking(const coordinator::SiteTask& task, Result& result) {
  if (task.kind == coordinator::TaskKind::kConsent) {
    absl::StatusOr<secagg::Consent> consent = masking_.Consent(task);
    if (!consent.ok()) return Do(round_->OnWorkFailed(agent::WorkFailure::kHopeless));
    result.consent = *std::move(consent);
  } else {
    absl::StatusOr<secagg::RevealMessage> reveal = masking_.Reveal(task);
    if (!reveal.ok()) return Do(round_->OnWorkFailed(agent::WorkFailure::kHopeless));
    result.reveal = *std::move(reveal);
  }
  spool_[task.task_id] = std::move(result);
  std::erase(spool_order_, task.task_id);
  spool_order_.push_back(task.task_id);
  Do(round_->OnWorkDone());
}

// The monitor's thread: it also notices that the result is no longer awaited.
void SimSite::Heartbeat(const std::string& task_id) {
  coordinator::SiteProgress progress;
  progress.phase = "train";
  progress.task_id = task_id;
  progress.done = steps_;
  progress.total = kSteps;
  progress.advances = options_.counts ? static_cast<uint64_t>(1 + steps_) : 0;
  Call<absl::Status>(
      [this, progress] { return coordinator_.ReportProgress(name(), progress); },
      [this, task_id](const absl::Status& status) {
        if (working_on_ != task_id) return;
        if (absl::IsFailedPrecondition(status)) {
          working_on_.clear();
          return Do(round_->OnWorkFailed(agent::WorkFailure::kAbandoned));
        }
        world_.After(task_->lease / 3, [this, life = life_, task_id] {
          if (life == life_ && alive_ && working_on_ == task_id) Heartbeat(task_id);
        });
      });
}

void SimSite::FinishWork(const coordinator::SiteTask& task) {
  if (task.masking && !agreed_) {  // trained before all had agreed
    world_.After(kAgreeAgain, [this, life = life_, task] {
      if (life == life_ && alive_ && working_on_ == task.task_id) FinishWork(task);
    });
    return;
  }
  working_on_.clear();
  if (world_.Chance(world_.faults().work_fails)) {
    return Do(round_->OnWorkFailed(world_.Chance(0.5) ? agent::WorkFailure::kHopeless
                                                      : agent::WorkFailure::kTrouble));
  }
  Result result;
  result.key = {task.task_id, KindOf(task.kind), task.study, task.round};
  if (task.unmasking) return FinishUnmasking(task, result);
  if (task.kind == coordinator::TaskKind::kTrain || task.kind == coordinator::TaskKind::kInitialise) {
    for (int i = 0; i < 3; ++i) {
      result.values.push_back(static_cast<float>(world_.random().Uniform(-1, 1)));
    }
    coordinator::Announcement update;
    update.site = name();
    update.task_id = task.task_id;
    update.study = task.study;
    update.round = task.round;
    update.base_model_sha256 = task.model_sha256;
    update.sha256 = absl::StrCat(absl::Hex(world_.random().Next()));  // sealing is never the same
    update.labelled_cases = options_.labelled;
    update.unlabelled_cases = options_.unlabelled;
    ledger_[coordinator::UploadId(update)] = {name(),        task.task_id,       task.study,
                                              result.values, options_.labelled, options_.unlabelled};
    if (task.masking) {
      absl::StatusOr<Words> words = masking_.Mask(task, result.values);
      if (!words.ok()) return Do(round_->OnWorkFailed(agent::WorkFailure::kHopeless));
      result.words = *std::move(words);
      result.values.clear();
      // Between the note that it has masked and the payload on the disk.
      if (world_.Chance(5 * world_.faults().site_crash)) return Crash();
    }
    result.update = std::move(update);
  }
  spool_[task.task_id] = std::move(result);
  std::erase(spool_order_, task.task_id);
  spool_order_.push_back(task.task_id);
  Do(round_->OnWorkDone());
}

void SimSite::OnDelivery(const absl::Status& status) {
  if (round_->phase() != agent::SiteRound::Phase::kDelivering) return;
  if (!status.ok()) return Do(round_->OnDeliveryFailed(agent::ClassifyFailure(status)));
  const bool held = spool_.at(delivering_).update.has_value();
  if (held) delivered_.insert(delivering_);
  Do(round_->OnDelivered(held ? agent::SiteRound::Delivery::kHeld
                              : agent::SiteRound::Delivery::kDone));
}

void SimSite::Deliver(const std::string& task_id) {
  delivering_ = task_id;
  const Result result = spool_.at(task_id);
  if (result.update) return DeliverUpdate(result);
  Call<absl::Status>(
      [this, task_id, kind = result.key.kind, consent = result.consent,
       reveal = result.reveal]() -> absl::Status {
        if (kind == agent::TaskKind::kPrepare) {
          coordinator::CohortRecord report;
          report.site = name();
          report.labelled_cases = options_.labelled + options_.held_out;
          report.cases = report.labelled_cases + options_.unlabelled;
          report.held_out_cases = options_.held_out;
          report.median_spacing_xyz_mm = {1, 1, 1};
          report.median_size_xyz = {40, 40, 40};
          return coordinator_.ReportCohort(report, task_id);
        }
        if (consent) return coordinator_.Consent(name(), task_id, *consent);
        if (reveal) return coordinator_.Reveal(name(), task_id, *reveal);
        return coordinator_.ReportEvaluation(name(), task_id, {{"case", {0.5}}});
      },
      [this](const absl::Status& status) { OnDelivery(status); });
}

void SimSite::DeliverUpdate(const Result& result) {
  Call<absl::Status>(
      [this, result] { return coordinator_.Upload(*result.update, {result.values, result.words}); },
      [this, result](const absl::Status& begun) {
        if (!begun.ok()) return OnDelivery(begun);
        using Answer = absl::StatusOr<bool>;
        Call<Answer>([this, result] { return coordinator_.CommitUpload(*result.update); },
                     [this](const Answer& answer) { OnDelivery(answer.status()); });
      });
}

void SimSite::Decline(const std::string& task_id) {
  ++world_.counts.declines;
  Call<absl::Status>([this, task_id] { return coordinator_.Decline(name(), task_id); },
                     [this](const absl::Status& status) {
                       Do(status.ok() ? round_->OnDeclined()
                                      : round_->OnDeclineFailed(agent::ClassifyFailure(status)));
                     });
}

}  // namespace consilium::sim
