// The part of FederationDriver that runs on its one worker thread: folding and making models.
#include <utility>

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
      context.study, CoordinatorCaller(),
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
  const absl::Duration began = clock_.Monotonic();
  const absl::StatusOr<MadeModel> made = worker_.Aggregate(context, accepted);
  if (options_.metrics != nullptr) options_.metrics->Aggregated(clock_.Monotonic() - began);
  const absl::Status committed = Change(
      context.study, CoordinatorCaller(),
      [&](StudyRun& run, Step& step, Batch& batch, absl::Time now) -> absl::Status {
        if (!run.round() || run.round()->record().number != context.round ||
            run.round()->phase() != RoundPhase::kAggregating) {
          return absl::OkStatus();  // stopped or failed meanwhile
        }
        if (!made.ok()) {
          run.OnAggregationFailed(
              absl::StrCat("the model could not be made: ", made.status().message()), now, step);
          return absl::OkStatus();
        }
        CSL_ASSIGN_OR_RETURN(const VersionRecord version, run.OnModelReady(made->model, now, step));
        batch.Put(version);
        batch.Put(made->manifest);
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

}  // namespace consilium::coordinator
