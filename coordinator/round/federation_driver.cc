#include "coordinator/round/federation_driver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/random.h"
#include "privacy/log/log.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

constexpr size_t kRunIdBytes = 16;
constexpr absl::Duration kWaitSlice = absl::Milliseconds(500);  // how soon a gone caller is noticed

const Caller& Coordinator() {
  static const Caller& caller = *new Caller{"coordinator", "coordinator"};
  return caller;
}

AggregationWorker::Context ContextOf(const StudyRun& run, int64_t round) {
  return {.study = run.record().name,
          .round = round,
          .parameters = run.record().parameters,
          .base_sha256 = run.round() ? run.round()->record().base_sha256 : "",
          .plan_json = run.record().plan_json};
}

}  // namespace

FederationDriver::FederationDriver(Options options, privacy::HpkeKeyPair sealing_key, Store& store,
                                   SiteRegistry& sites, const Clock& clock)
    : options_(std::move(options)),
      sealing_key_(std::move(sealing_key)),
      store_(store),
      sites_(sites),
      clock_(clock),
      started_(clock.Now()),
      started_steady_(clock.Monotonic()),
      staging_(options_.staging_folder),
      models_(options_.models_folder),
      worker_(options_.federation, sealing_key_, staging_, models_),
      pool_(1) {}

FederationDriver::~FederationDriver() { Drain(); }

absl::StatusOr<std::unique_ptr<FederationDriver>> FederationDriver::Create(
    Options options, privacy::HpkeKeyPair sealing_key, Store& store, SiteRegistry& sites,
    const Clock& clock) {
  auto driver = std::unique_ptr<FederationDriver>(new FederationDriver(
      std::move(options), std::move(sealing_key), store, sites, clock));
  CSL_RETURN_IF_ERROR(driver->Load());
  return driver;
}

// Takes up every study where it was: accepted updates of an open round are folded again.
absl::Status FederationDriver::Load() {
  CSL_RETURN_IF_ERROR(models_.Prepare());
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
    CSL_ASSIGN_OR_RETURN(std::vector<EvaluationRecord> evaluations,
                         store_.Evaluations(study.name));
    if (!evaluations.empty()) evaluation = std::move(evaluations.back());
    CSL_ASSIGN_OR_RETURN(StudyRun run, StudyRun::FromRecords(study, std::move(round),
                                                             std::move(evaluation)));
    run.OnRestart(Now());
    const std::vector<StudyEffect> effects = run.Resume();
    const bool busy = run.round() && (run.round()->open() || !effects.empty());
    staging_.Sweep(study.name, busy ? run.round()->record().number : -1);
    const RunPtr shared = std::make_shared<const StudyRun>(std::move(run));
    {
      absl::MutexLock lock(&mutex_);
      studies_.emplace(study.name, shared);
    }
    Execute(*shared, effects);
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
  std::vector<RunPtr> runs;
  for (const auto& [name, run] : studies_) runs.push_back(run);
  return runs;
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
  const std::vector<SiteView> sites = sites_.Views();
  run.OnTime(sites, now, step);
  const absl::Status result = event(run, step, batch, now);
  run.OnTime(sites, now, step);
  const bool changed = step.changed();
  if (changed) CSL_RETURN_IF_ERROR(Persist(run, step, caller, batch));
  Publish(run, changed);
  Execute(run, step.effects);
  return result;
}

absl::Status FederationDriver::Persist(const StudyRun& run, Step& step, const Caller& caller,
                                       Batch& batch) {
  for (const RoundRecord& round : step.rounds) batch.Put(round);
  for (const EvaluationRecord& evaluation : step.evaluations) batch.Put(evaluation);
  batch.Put(run.record());
  for (AuditFacts& facts : step.audit) {
    if (facts.actor.empty()) {
      facts.actor = caller.name;
      facts.role = caller.role;
    }
    batch.Audit(facts);
  }
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
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

void FederationDriver::Publish(StudyRun run, bool changed) {
  absl::MutexLock lock(&mutex_);
  const std::string name = run.record().name;
  studies_[name] = std::make_shared<const StudyRun>(std::move(run));
  if (!changed) return;
  ++revision_;
  changed_.SignalAll();
}

// Queued in the order of the changes: an update is folded before its round is aggregated.
void FederationDriver::Execute(const StudyRun& run, const std::vector<StudyEffect>& effects) {
  const std::string study = run.record().name;
  for (const StudyEffect& effect : effects) {
    if (const auto* fold = std::get_if<StudyFold>(&effect)) {
      pool_.Schedule([this, context = ContextOf(run, fold->round), update = fold->update] {
        RunFold(context, update);
      });
    } else if (const auto* aggregate = std::get_if<StudyAggregate>(&effect)) {
      pool_.Schedule(
          [this, context = ContextOf(run, aggregate->round)] { RunAggregate(context); });
    } else {
      const int64_t round = std::get<DropUploads>(effect).round;
      pool_.Schedule([this, study, round] { DropRound(study, round); });
    }
  }
}

void FederationDriver::RunFold(const AggregationWorker::Context& context,
                               const FoldUpdate& update) {
  const absl::Status folded = worker_.Fold(context, update);
  if (folded.ok()) return;
  Log(LogLevel::kError, "an accepted update could not be folded",
      {{Key::kStudy, context.study},
       {Key::kRound, context.round},
       {Key::kSite, update.site},
       {Key::kReason, folded.message()}});
  // Should the failure not be recorded below, Aggregate finds this update missing from the sum.
  worker_.Forget(context.study, context.round);
  const absl::Status failed = Change(
      context.study, Coordinator(),
      [&](StudyRun& run, Step& step, Batch&, absl::Time now) -> absl::Status {
        run.OnAggregationFailed(absl::StrCat("folding failed: ", folded.message()), now, step);
        return absl::OkStatus();
      });
  if (!failed.ok()) {
    Log(LogLevel::kError, "the failed round could not be recorded",
        {{Key::kStudy, context.study}, {Key::kReason, failed.message()}});
  }
}

void FederationDriver::RunAggregate(const AggregationWorker::Context& context) {
  const RunPtr before = Find(context.study);
  if (before == nullptr || !before->round() ||
      before->round()->record().number != context.round ||
      before->round()->phase() != RoundPhase::kAggregating) {
    worker_.Forget(context.study, context.round);
    return;  // stopped or failed meanwhile
  }
  std::vector<FoldUpdate> accepted;
  for (const StudyEffect& effect : before->Resume()) {
    if (const auto* fold = std::get_if<StudyFold>(&effect)) accepted.push_back(fold->update);
  }
  const absl::StatusOr<NewModel> model = worker_.Aggregate(context, accepted);
  const absl::Status committed = Change(
      context.study, Coordinator(),
      [&](StudyRun& run, Step& step, Batch& batch, absl::Time now) -> absl::Status {
        if (!run.round() || run.round()->record().number != context.round ||
            run.round()->phase() != RoundPhase::kAggregating) {
          return absl::OkStatus();  // stopped or failed meanwhile
        }
        if (!model.ok()) {
          run.OnAggregationFailed(
              absl::StrCat("the model could not be made: ", model.status().message()), now, step);
          return absl::OkStatus();
        }
        CSL_ASSIGN_OR_RETURN(const VersionRecord version, run.OnModelReady(*model, now, step));
        batch.Put(version);
        batch.Put(AliasRecord{version.study, "latest", version.version});
        return absl::OkStatus();
      });
  if (committed.ok()) return;
  // The store refused, most likely for want of space. Without a retry the round would hang.
  Log(LogLevel::kError, "a new version could not be committed; trying again",
      {{Key::kStudy, context.study},
       {Key::kRound, context.round},
       {Key::kReason, committed.message()}});
  absl::MutexLock lock(&mutex_);
  if (draining_) return;
  changed_.WaitWithTimeout(&mutex_, kWaitSlice);
  pool_.Schedule([this, context] { RunAggregate(context); });
}

void FederationDriver::DropRound(const std::string& study, int64_t round) {
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = uploads_.begin(); it != uploads_.end();) {
      const Announcement& announcement = it->second->announcement();
      const bool over = announcement.study == study && announcement.round == round;
      it = over ? uploads_.erase(it) : std::next(it);
    }
  }
  worker_.Forget(study, round);
  staging_.Drop(study, round);
}

void FederationDriver::Tick() {
  for (const RunPtr& run : Runs()) {
    const StudyState state = run->record().state;
    if (state != StudyState::kPreparing && state != StudyState::kRunning) continue;
    const absl::Status status =
        Change(run->record().name, Coordinator(),
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
  }
  pool_.Wait();
}

bool FederationDriver::draining() const {
  absl::MutexLock lock(&mutex_);
  return draining_;
}

std::optional<SiteTask> FederationDriver::NextTask(absl::string_view site, absl::Duration wait,
                                                   const std::function<bool()>& gone) {
  const absl::Duration until = clock_.Monotonic() + std::min(wait, kTaskWaitMax);
  absl::MutexLock lock(&mutex_);
  while (!draining_) {
    for (const auto& [name, run] : studies_) {
      std::optional<SiteTask> task = run->TaskFor(site, Now());
      if (task) return task;
    }
    const absl::Duration left = until - clock_.Monotonic();
    if (left <= absl::ZeroDuration() || gone()) break;
    changed_.WaitWithTimeout(&mutex_, std::min(left, kWaitSlice));
  }
  return std::nullopt;
}

absl::Status FederationDriver::ReportCohort(const CohortRecord& report, absl::string_view task_id) {
  for (const RunPtr& run : Runs()) {
    if (run->TaskId(TaskKind::kPrepare, 0, report.site) != task_id) continue;
    return Change(run->record().name, Coordinator(),
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
    return Change(run->record().name, Coordinator(),
                  [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                    return changing.OnEvaluationReport(site, task_id, cases, now, step);
                  });
  }
  return absl::FailedPreconditionError("no such EVALUATE task is awaited; ask for the next task");
}

absl::Status FederationDriver::ReportProgress(absl::string_view site,
                                              const SiteProgress& progress) {
  static constexpr absl::string_view kPhases[] = {"prepare", "download", "train", "evaluate",
                                                  "upload"};
  if (std::find(std::begin(kPhases), std::end(kPhases), progress.phase) == std::end(kPhases)) {
    return absl::InvalidArgumentError("progress: unknown phase");
  }
  const absl::Time now = Now();
  absl::MutexLock lock(&mutex_);
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
    ++revision_;
    changed_.SignalAll();
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("the task is no longer awaited; ask for the next task");
}

void FederationDriver::CountBytes(absl::string_view site, int64_t up, int64_t down) {
  const absl::Time now = Now();
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, run] : studies_) {
    if (!run->TaskFor(site, now)) continue;
    SiteProgress& progress = progress_[name][std::string(site)];
    progress.bytes_up += up;
    progress.bytes_down += down;
    return;
  }
}

absl::StatusOr<std::string> FederationDriver::ModelPath(absl::string_view sha256) const {
  CSL_ASSIGN_OR_RETURN(std::string path, models_.Path(sha256));
  const absl::StatusOr<VersionRecord> version = store_.VersionOfDigest(sha256);
  if (absl::IsNotFound(version.status())) {
    return absl::NotFoundError("no model with this digest is registered");
  }
  CSL_RETURN_IF_ERROR(version.status());
  return path;
}

void FederationDriver::OnSiteGone(absl::string_view site, absl::string_view reason) {
  for (const RunPtr& run : Runs()) {
    const absl::Status status =
        Change(run->record().name, Coordinator(),
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

StudyView FederationDriver::ViewOf(const RunPtr& run) const {
  StudyView view = {run, {}, revision_};
  const auto it = progress_.find(run->record().name);
  if (it != progress_.end()) view.progress = it->second;
  return view;
}

absl::StatusOr<StudyView> FederationDriver::CreateStudy(const std::string& yaml,
                                                        const Caller& caller) {
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(
      StudyRun run,
      StudyRun::Create(yaml, HexEncode(privacy::RandomBytes(kRunIdBytes)), Now()));
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
  CSL_RETURN_IF_ERROR(Persist(run, step, caller, batch));
  Publish(std::move(run), true);
  return GetStudy(name);
}

absl::StatusOr<StudyView> FederationDriver::ControlStudy(absl::string_view study,
                                                         absl::string_view action,
                                                         absl::string_view reason,
                                                         const Caller& caller) {
  CSL_RETURN_IF_ERROR(Change(study, caller,
                             [&](StudyRun& run, Step& step, Batch&, absl::Time now) {
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
