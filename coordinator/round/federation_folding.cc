// The part of FederationDriver that runs on its one worker thread: folding and making models.
#include <algorithm>
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
  const std::vector<FoldUpdate> accepted = before->Accepted();
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
        // A site was revoked meanwhile: what is left is aggregated anew, as was asked with that.
        if (run.Accepted().size() != accepted.size()) return absl::OkStatus();
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

void FederationDriver::DropRound(const std::string& study, const DropUploads& drop) {
  const bool whole = drop.what == DropUploads::What::kWholeRound;
  const auto is_over = [&](const Announcement& announcement) {
    if (announcement.study != study) return false;
    if (whole) return announcement.round == drop.round;
    return std::any_of(drop.tasks.begin(), drop.tasks.end(), [&](const DropUploads::Task& task) {
      return task.task_id == announcement.task_id;
    });
  };
  std::vector<std::shared_ptr<Upload>> cut;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = uploads_.begin(); it != uploads_.end();) {
      const bool over = is_over(it->second->announcement());
      if (over) cut.push_back(it->second);
      it = over ? uploads_.erase(it) : std::next(it);
    }
  }
  worker_.Forget(study, drop.round);
  if (whole) {
    staging_.Drop(study, drop.round);
    return;
  }
  for (const std::shared_ptr<Upload>& upload : cut) {
    staging_.DropUpload(study, upload->announcement().round, upload->id());
  }
  for (const DropUploads::Task& task : drop.tasks) {
    if (!task.upload_id.empty()) staging_.DropUpload(study, task.task_round, task.upload_id);
  }
}

}  // namespace consilium::coordinator
