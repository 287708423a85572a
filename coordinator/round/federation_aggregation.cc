// The part of FederationDriver that runs on its one worker thread: making models, dropping uploads.
#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "coordinator/round/federation_driver.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

bool IsAggregating(const StudyRun& run, int64_t round) {
  return run.round() && run.round()->record().number == round &&
         run.round()->phase() == RoundPhase::kAggregating;
}

}  // namespace

// The stored copies that a power cut took; bytes that are there are checked when they are folded.
LostUpdates FederationDriver::MissingUpdates(const StudyRun& run) const {
  LostUpdates lost;
  const bool waits = run.round() && (run.round()->open() ||
                                     run.round()->phase() == RoundPhase::kUnmasking);
  if (!waits) return lost;
  for (const ContributionRecord& contribution : run.round()->record().contributions) {
    if (contribution.outcome != Outcome::kAccepted) continue;
    const absl::StatusOr<uint64_t> bytes = FileBytes(staging_.Path(
        run.record().name, run.round()->TaskRound(contribution), contribution.upload_id));
    if (bytes.ok() && *bytes == static_cast<uint64_t>(contribution.bytes)) continue;
    lost.task_ids.push_back(contribution.task_id);
  }
  return lost;
}

// The bytes go before the round collects again: until then nobody may offer these updates.
void FederationDriver::AskAgain(const AggregationWorker::Context& context, const StudyRun& run,
                                const LostUpdates& lost) {
  std::vector<std::string> uploads;
  for (const std::string& task_id : lost.task_ids) {
    const ContributionRecord* contribution = run.round()->FindTask(task_id);
    if (contribution == nullptr) continue;
    uploads.push_back(contribution->upload_id);
    staging_.DropUpload(context.study, run.round()->TaskRound(*contribution), uploads.back());
    Log(LogLevel::kError, "an accepted update is lost, its site is asked again",
        {{Key::kStudy, context.study},
         {Key::kRound, context.round},
         {Key::kSite, contribution->site}});
  }
  const absl::Status asked =
      Change(context.study, CoordinatorCaller(),
             [&](StudyRun& changing, Step& step, Batch& batch, absl::Time now) -> absl::Status {
               if (!changing.round() || changing.round()->record().number != context.round ||
                   !changing.round()->under_way()) {
                 return absl::OkStatus();  // stopped meanwhile
               }
               for (const std::string& upload : uploads) batch.DeleteUpload(upload);
               return changing.OnUpdatesLost(lost.task_ids, now, step);
             });
  if (!asked.ok()) TryAgain(context, asked);
}

// The store refused, most likely for want of space. Without a retry the round would hang.
void FederationDriver::TryAgain(const AggregationWorker::Context& context,
                                const absl::Status& refused) {
  Log(LogLevel::kError, "the end of a round could not be committed; trying again",
      {{Key::kStudy, context.study},
       {Key::kRound, context.round},
       {Key::kReason, refused.message()}});
  absl::MutexLock lock(&mutex_);
  if (draining_) return;
  changed_.WaitWithTimeout(&mutex_, kWaitSlice);
  pool_.Schedule([this, context] { RunAggregate(context); });
}

absl::StatusOr<std::variant<MadeModel, LostUpdates>> FederationDriver::MakeModel(
    AggregationWorker::Context context, const StudyRun& run,
    const std::vector<FoldUpdate>& accepted) {
  if (run.masked()) {
    CSL_ASSIGN_OR_RETURN(std::vector<MaskedSum> sums, run.masked()->Unmask(nullptr));
    context.sums = std::make_shared<const std::vector<MaskedSum>>(std::move(sums));
  }
  return worker_.Aggregate(context, accepted);
}

void FederationDriver::RunAggregate(const AggregationWorker::Context& context) {
  const RunPtr before = Find(context.study);
  if (before == nullptr || !IsAggregating(*before, context.round)) return;  // stopped meanwhile
  const absl::Duration began = clock_.Monotonic();
  const std::vector<FoldUpdate> accepted = before->round()->Accepted();
  auto made = MakeModel(context, *before, accepted);
  if (options_.metrics != nullptr) options_.metrics->Aggregated(clock_.Monotonic() - began);
  if (made.ok() && std::holds_alternative<LostUpdates>(*made)) {
    AskAgain(context, *before, std::get<LostUpdates>(*made));
    return;
  }
  const absl::Status committed = Change(
      context.study, CoordinatorCaller(),
      [&](StudyRun& run, Step& step, Batch& batch, absl::Time now) -> absl::Status {
        if (!IsAggregating(run, context.round)) return absl::OkStatus();  // stopped meanwhile
        // A site was revoked meanwhile: what is left is aggregated anew, as was asked with that.
        if (run.round()->Accepted().size() != accepted.size()) return absl::OkStatus();
        if (!made.ok()) {
          run.OnAggregationFailed(
              absl::StrCat("the model could not be made: ", made.status().message()), now, step);
          return absl::OkStatus();
        }
        const MadeModel& model = std::get<MadeModel>(*made);
        CSL_ASSIGN_OR_RETURN(const VersionRecord version, run.OnModelReady(model.model, now, step));
        batch.Put(version);
        for (const ManifestRecord& manifest : model.manifests) batch.Put(manifest);
        // What the round before left for this one.
        for (const std::string& old : {before->record().optimizer_sha256,
                                       before->record().control_sha256}) {
          const bool same = old == model.model.optimizer_sha256 || old == model.model.control_sha256;
          if (!old.empty() && !same) batch.DeleteManifest(old);
        }
        batch.Put(AliasRecord{version.study, "latest", version.version});
        return absl::OkStatus();
      });
  if (!committed.ok()) TryAgain(context, committed);
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
