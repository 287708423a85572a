#include "coordinator/round/federation_driver.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/random.h"
#include "privacy/log/log.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

constexpr size_t kRunIdBytes = 16;

AggregationWorker::Context ContextOf(const StudyRun& run, int64_t round) {
  return {.study = run.record().name,
          .round = round,
          .parameters = run.record().parameters,
          .base_sha256 = run.round() ? run.round()->record().base_sha256 : "",
          .plan_json = run.record().plan_json,
          .rule = run.spec().rule,
          .optimizer = run.spec().optimizer,
          .optimizer_sha256 = run.record().optimizer_sha256,
          .scaffold = run.spec().algorithm.kind == "scaffold" && round > 0,
          .control_sha256 = run.record().control_sha256,
          .population = static_cast<int64_t>(run.record().cohort.size()),
          .masked_bits = run.spec().protection.bits};
}

}  // namespace

const Caller& CoordinatorCaller() {
  static const Caller& caller = *new Caller{"coordinator", "coordinator"};
  return caller;
}

FederationDriver::FederationDriver(Options options, privacy::HpkeKeyPair sealing_key, Store& store,
                                   ModelStore& models, SiteRegistry& sites, const Clock& clock)
    : options_(std::move(options)),
      sealing_key_(std::move(sealing_key)),
      store_(store),
      models_(models),
      sites_(sites),
      clock_(clock),
      started_(clock.Now()),
      started_steady_(clock.Monotonic()),
      staging_(options_.staging_folder),
      worker_(options_.federation, sealing_key_, staging_, models_),
      waker_(1),
      pool_(1) {}

FederationDriver::~FederationDriver() { Drain(); }

absl::StatusOr<std::unique_ptr<FederationDriver>> FederationDriver::Create(
    Options options, privacy::HpkeKeyPair sealing_key, Store& store, ModelStore& models,
    SiteRegistry& sites, const Clock& clock) {
  auto driver = std::unique_ptr<FederationDriver>(new FederationDriver(
      std::move(options), std::move(sealing_key), store, models, sites, clock));
  CSL_RETURN_IF_ERROR(driver->Load());
  return driver;
}

// Takes up every study where it was: a round that was being aggregated is aggregated again.
absl::Status FederationDriver::Load() {
  std::error_code ignored;  // what a crash left of an import; the next start tries again
  std::filesystem::remove_all(JoinPath(options_.staging_folder, kImportFolder), ignored);
  CSL_ASSIGN_OR_RETURN(const std::vector<StudyRecord> studies, store_.Studies());
  for (const StudyRecord& study : studies) {
    std::optional<RoundRecord> round;
    std::optional<EvaluationRecord> evaluation;
    const int64_t number = study.stage == Stage::kInitialising ? 0 : study.round;
    absl::StatusOr<RoundRecord> stored = store_.Round(study.name, number);
    if (stored.ok()) {
      round = *std::move(stored);
    } else if (!absl::IsNotFound(stored.status())) {
      return stored.status();
    }
    CSL_ASSIGN_OR_RETURN(std::vector<EvaluationRecord> evaluations, store_.Evaluations(study.name));
    if (!evaluations.empty()) evaluation = std::move(evaluations.back());
    std::vector<AgreementRecord> agreements;
    if (round && !round->masking.rosters.empty()) {
      CSL_ASSIGN_OR_RETURN(agreements, store_.Agreements(study.name, round->number));
    }
    CSL_ASSIGN_OR_RETURN(StudyRun run,
                         StudyRun::FromRecords(study, std::move(round), std::move(evaluation),
                                               std::move(agreements)));
    run.NoteFederation(options_.federation);
    run.OnRestart(Now());
    const std::vector<StudyEffect> effects = run.Resume();
    staging_.Sweep(study.name, run.StagedRounds());
    const RunPtr shared = std::make_shared<const StudyRun>(std::move(run));
    {
      absl::MutexLock lock(&mutex_);
      studies_.emplace(study.name, shared);
    }
    Execute(*shared, effects);
    if (const LostUpdates lost = MissingUpdates(*shared); !lost.task_ids.empty()) {
      AskAgain(ContextOf(*shared, shared->round()->record().number), *shared, lost);
    }
  }
  return absl::OkStatus();
}

absl::Time FederationDriver::Now() const {
  return started_ + (clock_.Monotonic() - started_steady_);
}

FederationDriver::RunPtr FederationDriver::Find(absl::string_view study) const {
  absl::MutexLock lock(&mutex_);
  const auto it = studies_.find(study);
  return it == studies_.end() ? nullptr : it->second;
}

std::vector<FederationDriver::RunPtr> FederationDriver::Runs() const {
  absl::MutexLock lock(&mutex_);
  return RunsLocked();
}

std::vector<FederationDriver::RunPtr> FederationDriver::RunsLocked() const {
  std::vector<RunPtr> runs;
  for (const auto& [name, run] : studies_) runs.push_back(run);
  return runs;
}

std::vector<SiteView> FederationDriver::SiteViews() const {
  std::vector<SiteView> sites = sites_.Views();
  absl::MutexLock lock(&mutex_);
  liveness_.Fill(sites);
  return sites;
}

absl::Status FederationDriver::Change(absl::string_view study, const Caller& caller,
                                      const Event& event) {
  absl::MutexLock turn(&turn_);
  const RunPtr before = Find(study);
  if (before == nullptr) return absl::NotFoundError(absl::StrCat("no study ", study));
  StudyRun run = *before;
  Step step;
  Batch batch;
  const absl::Time now = Now();
  const std::vector<SiteView> sites = SiteViews();
  run.NoteRoom(RoomFor(study));
  const absl::Status result = TakeTurn(run, sites, now, step, [&](StudyRun& changing, Step& out) {
    return event(changing, out, batch, now);
  });
  const bool changed = step.changed();
  if (changed) CSL_RETURN_IF_ERROR(Persist(before.get(), run, step, caller, batch));
  Publish(run, changed);
  Execute(run, step.effects);
  return result;
}

absl::Status FederationDriver::Persist(const StudyRun* before, const StudyRun& run, Step& step,
                                       const Caller& caller, Batch& batch) {
  for (const RoundRecord& round : step.rounds) batch.Put(round);
  for (const EvaluationRecord& evaluation : step.evaluations) batch.Put(evaluation);
  for (const AgreementRecord& agreement : step.agreements) batch.Put(agreement);
  for (const AgreementRecord& ended : step.ended_agreements) {
    batch.DeleteAgreement(ended.study, ended.round, ended.site);
  }
  // It names every site's cohort, and most changes are of a round alone.
  if (before == nullptr || !(before->record() == run.record())) batch.Put(run.record());
  for (AuditFacts& facts : step.audit) {
    if (facts.actor.empty()) {
      facts.actor = caller.name;
      facts.role = caller.role;
    }
    batch.Audit(facts);
  }
  if (const absl::Status status = store_.Commit(batch, clock_.Now()).status(); !status.ok()) {
    if (options_.metrics != nullptr) options_.metrics->StoreWriteFailed();
    return status;
  }
  CountRounds(step);
  for (const AuditFacts& facts : step.audit) {
    Log(LogLevel::kInfo, "study event",
        {{Key::kStudy, run.record().name},
         {Key::kAction, facts.action},
         {Key::kSite, facts.site},
         {Key::kRound, facts.round.value_or(run.record().round)},
         {Key::kReason, facts.reason}});
  }
  return absl::OkStatus();
}

void FederationDriver::CountRounds(const Step& step) {
  if (options_.metrics == nullptr) return;
  std::map<int64_t, const RoundRecord*> last;  // of a step's records of one round
  for (const RoundRecord& round : step.rounds) last[round.number] = &round;
  for (const auto& [number, round] : last) {
    const bool committed = round->phase == RoundPhase::kCommitted;
    if (!committed && round->phase != RoundPhase::kFailed) continue;
    options_.metrics->RoundEnded(committed ? RoundOutcome::kCommitted : RoundOutcome::kFailed,
                                 absl::Microseconds(round->ended_us - round->started_us));
  }
}

void FederationDriver::Publish(StudyRun run, bool changed) {
  absl::MutexLock lock(&mutex_);
  const std::string name = run.record().name;
  studies_[name] = std::make_shared<const StudyRun>(std::move(run));
  if (!changed) return;
  ++revision_;
  changed_.SignalAll();
  ScheduleWake();
}

// Queued in the order of the changes: a round is aggregated before its uploads are dropped.
void FederationDriver::Execute(const StudyRun& run, const std::vector<StudyEffect>& effects) {
  const std::string study = run.record().name;
  for (const StudyEffect& effect : effects) {
    if (const auto* aggregate = std::get_if<StudyAggregate>(&effect)) {
      pool_.Schedule([this, context = ContextOf(run, aggregate->round)] { RunAggregate(context); });
    } else {
      pool_.Schedule(
          [this, study, drop = std::get<DropUploads>(effect)] { DropRound(study, drop); });
    }
  }
}

void FederationDriver::Tick() {
  SweepNow();
  for (const RunPtr& run : Runs()) {
    const StudyState state = run->record().state;
    if (state != StudyState::kPreparing && state != StudyState::kRunning) continue;
    const absl::Status status =
        Change(run->record().name, CoordinatorCaller(),
               [](StudyRun&, Step&, Batch&, absl::Time) { return absl::OkStatus(); });
    if (!status.ok()) {
      Log(LogLevel::kError, "a study could not be moved on",
          {{Key::kStudy, run->record().name}, {Key::kReason, status.message()}});
    }
  }
}

void FederationDriver::Drain() {
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    changed_.SignalAll();
    for (TaskAnswer& answer : waiters_.TakeAll()) {
      waker_.Schedule([answer = std::move(answer)] { answer(std::nullopt); });
    }
  }
  pool_.Wait();
  waker_.Wait();
}

bool FederationDriver::draining() const {
  absl::MutexLock lock(&mutex_);
  return draining_;
}

StudyView FederationDriver::ViewOf(const RunPtr& run) const {
  StudyView view = {run, {}, revision_, Now()};
  const auto it = progress_.find(run->record().name);
  if (it != progress_.end()) view.progress = it->second;
  return view;
}

absl::StatusOr<StudyView> FederationDriver::CreateStudy(const std::string& yaml,
                                                        const Caller& caller) {
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(StudyRun run,
                       StudyRun::Create(yaml, HexEncode(privacy::RandomBytes(kRunIdBytes)), Now()));
  run.NoteFederation(options_.federation);
  const std::string name = run.record().name;
  if (Find(name) != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("study ", name, " is there already; a study keeps its name for good"));
  }
  if (Runs().size() >= kStudiesMax) return absl::ResourceExhaustedError("too many studies");
  Step step;
  AuditFacts facts;
  facts.action = "study.create";
  facts.study = name;
  step.audit.push_back(std::move(facts));
  Batch batch;
  CSL_RETURN_IF_ERROR(Persist(nullptr, run, step, caller, batch));
  Publish(std::move(run), true);
  return GetStudy(name);
}

absl::StatusOr<StudyView> FederationDriver::ControlStudy(absl::string_view study,
                                                         absl::string_view action,
                                                         absl::string_view reason,
                                                         const Caller& caller) {
  CSL_RETURN_IF_ERROR(Change(study, caller, [&](StudyRun& run, Step& step, Batch&, absl::Time now) {
    return run.OnControl(action, reason, now, step);
  }));
  return GetStudy(study);
}

absl::StatusOr<StudyView> FederationDriver::GetStudy(absl::string_view study) const {
  absl::MutexLock lock(&mutex_);
  const auto it = studies_.find(study);
  if (it == studies_.end()) return absl::NotFoundError(absl::StrCat("no study ", study));
  return ViewOf(it->second);
}

std::vector<StudyView> FederationDriver::ListStudies() const {
  absl::MutexLock lock(&mutex_);
  std::vector<StudyView> views;
  for (const auto& [name, run] : studies_) views.push_back(ViewOf(run));
  return views;
}

void FederationDriver::WaitForChange(uint64_t seen, absl::Duration wait) const {
  absl::MutexLock lock(&mutex_);
  const absl::Time deadline = Clock::System().Now() + wait;
  while (revision_ <= seen && !draining_) {
    if (changed_.WaitWithDeadline(&mutex_, deadline)) return;
  }
}

}  // namespace consilium::coordinator
