// The part of SimCoordinator that takes updates in and folds them, in the driver's and the worker's
// steps.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/status.h"
#include "tests/sim/sim_coordinator.h"

namespace consilium::sim {

using namespace coordinator;  // NOLINT: the simulated program is this one

namespace {

constexpr absl::Duration kWorkMax = absl::Seconds(2);

std::string DigestOf(const Values& values) {
  return privacy::Sha256Hex(absl::string_view(reinterpret_cast<const char*>(values.data()),
                                              values.size() * sizeof(float)));
}

Offer OfferOf(const Announcement& announcement) {
  return {.site = announcement.site,
          .task_id = announcement.task_id,
          .round = announcement.round,
          .base_sha256 = announcement.base_model_sha256};
}

}  // namespace

// BeginUpload and its chunks in one.
absl::Status SimCoordinator::Upload(const Announcement& announcement, const Staged& staged) {
  CSL_RETURN_IF_ERROR(Heard(announcement.site));
  const std::string id = UploadId(announcement);
  if (disk_.uploads.contains(id)) return absl::OkStatus();
  if (absl::Status s = runs_.at(announcement.study)->CheckOffer(OfferOf(announcement), world_.now());
      !s.ok()) {
    ++world_.counts.late_updates;
    return s;
  }
  disk_.staged[{announcement.study, announcement.round, id}] = staged;
  return absl::OkStatus();
}

absl::StatusOr<bool> SimCoordinator::CommitUpload(const Announcement& announcement) {
  CSL_RETURN_IF_ERROR(Heard(announcement.site));
  const std::string id = UploadId(announcement);
  if (const auto it = disk_.uploads.find(id); it != disk_.uploads.end()) {
    return it->second.accepted != 0;
  }
  if (!disk_.staged.contains({announcement.study, announcement.round, id})) {
    return absl::FailedPreconditionError("no such upload is under way; begin it again");
  }
  UploadRecord record;
  record.upload_id = id;
  record.task_id = announcement.task_id;
  record.site = announcement.site;
  record.study = announcement.study;
  record.round = announcement.round;
  record.accepted = 1;
  const absl::Status settled = Change(
      announcement.study,
      [&](StudyRun& run, coordinator::Step& step, Writes& writes, absl::Time now) -> absl::Status {
        CSL_RETURN_IF_ERROR(run.CheckOffer(OfferOf(announcement), now));
        CSL_RETURN_IF_ERROR(run.OnUpdateVerified(
            announcement.site,
            {.upload_id = id,
             .bytes = 1,
             .labelled_cases = announcement.labelled_cases,
             .unlabelled_cases = announcement.unlabelled_cases,
             .weight_milli = 0,
             .summary = {}},
            now, step));
        writes.uploads.push_back(record);
        return absl::OkStatus();
      });
  CSL_RETURN_IF_ERROR(settled);
  acknowledged_.emplace(id, announcement.study);
  ++world_.counts.acknowledged;
  return true;
}

// One worker: first come, first served.
void SimCoordinator::Queue(std::function<void()> work) {
  worker_free_ = std::max(worker_free_, world_.now()) +
                 world_.Between(absl::ZeroDuration(), kWorkMax);
  world_.At(worker_free_, [this, life = life_, work = std::move(work)] {
    if (up_ && life == life_) work();
  });
}

void SimCoordinator::Execute(const std::string& study, const std::vector<StudyEffect>& effects) {
  for (const StudyEffect& effect : effects) {
    if (const auto* aggregate = std::get_if<StudyAggregate>(&effect)) {
      Queue([this, study, round = aggregate->round] { Aggregate(study, round); });
    } else {
      Queue([this, study, drop = std::get<DropUploads>(effect)] { Drop(study, drop); });
    }
  }
}

void SimCoordinator::Drop(const std::string& study, const DropUploads& drop) {
  std::erase_if(disk_.staged, [&](const auto& entry) {
    const auto& [of, round, upload] = entry.first;
    if (of != study) return false;
    if (drop.what == DropUploads::What::kWholeRound) return round == drop.round;
    return std::any_of(drop.tasks.begin(), drop.tasks.end(), [&](const DropUploads::Task& task) {
      return task.task_round == round && task.upload_id == upload;
    });
  });
}

SimCoordinator::MadeModel SimCoordinator::MakeModel(const std::string& study, int64_t round,
                                                    const std::vector<FoldUpdate>& accepted) {
  MadeModel made;
  aggregation::WeightedMean mean(runs_.at(study)->record().parameters);
  for (const FoldUpdate& update : accepted) {
    const int64_t staged_round = update.task_round == 0 ? round : update.task_round;
    const auto staged = disk_.staged.find({study, staged_round, update.upload_id});
    if (staged == disk_.staged.end()) {
      if (bug_ != Bug::kIgnoreLost) made.lost.push_back(update.task_id);
      continue;
    }
    if (round == 0) {
      made.values = staged->second.values;
      return made;
    }
    const int times = bug_ == Bug::kFoldTwice && world_.Chance(0.02) ? 2 : 1;
    for (int i = 0; i < times; ++i) {
      if (!mean.Begin(update.weight).ok()) world_.Fail("a weight is out of range");
      if (update.idle_weight > 0 && bug_ != Bug::kNoDiscount) {
        mean.AddIdle(update.idle_weight).IgnoreError();
      }
      mean.Fold(0, staged->second.values);
    }
  }
  if (!made.lost.empty()) return made;
  if (round > 0) made.values = disk_.models.at(runs_.at(study)->round()->record().base_sha256);
  if (!mean.AddMeanTo(absl::MakeSpan(made.values)).ok()) {
    world_.Fail(absl::StrCat("no model of round ", round, " of ", study));
  }
  return made;
}

SimCoordinator::MadeModel SimCoordinator::MakeMaskedModel(
    const StudyRun& run, const std::vector<FoldUpdate>& accepted) {
  MadeModel made;
  made.values = disk_.models.at(run.round()->record().base_sha256);
  const absl::StatusOr<std::vector<MaskedSum>> sums = run.masked()->Unmask(nullptr);
  if (!sums.ok() || sums->size() != 1) {
    world_.Fail(absl::StrCat("the masks do not open: ", sums.status().message()));
    return made;
  }
  const MaskedSum& opened = sums->front();
  std::vector<uint32_t> sum(opened.quantiser.words(), 0);
  for (const FoldUpdate& update : accepted) {
    const auto staged =
        disk_.staged.find({run.record().name, run.round()->record().number, update.upload_id});
    if (staged == disk_.staged.end()) {
      made.lost.push_back(update.task_id);
      continue;
    }
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += staged->second.words.at(i);
  }
  if (!made.lost.empty()) return made;
  opened.unmasker.Remove(0, absl::MakeSpan(sum));
  const absl::Span<const uint32_t> words(sum);
  const size_t lanes = opened.quantiser.padded_parameters();
  const auto decoded = opened.quantiser.DecodeLanes(words.subspan(lanes), opened.sites.size());
  Values mean(made.values.size());
  if (!decoded.ok() ||
      !opened.quantiser.Decode(decoded->weight, 0, words.first(lanes), absl::MakeSpan(mean)).ok()) {
    world_.Fail("the masks did not cancel");
    return made;
  }
  for (size_t i = 0; i < mean.size(); ++i) made.values[i] += mean[i];
  return made;
}

void SimCoordinator::AskAgain(const std::string& study, int64_t round,
                              const std::vector<std::string>& lost) {
  world_.counts.lost_updates += static_cast<int64_t>(lost.size());
  Change(study,
         [&](StudyRun& run, coordinator::Step& step, Writes& writes, absl::Time now) -> absl::Status {
           if (!run.round() || run.round()->record().number != round || !run.round()->under_way()) {
             return absl::OkStatus();
           }
           for (const std::string& task_id : lost) {
             writes.deleted_uploads.push_back(run.round()->FindTask(task_id)->upload_id);
           }
           return run.OnUpdatesLost(lost, now, step);
         })
      .IgnoreError();
}

void SimCoordinator::Aggregate(const std::string& study, int64_t round) {
  const auto before = runs_.at(study);
  if (!before->round() || before->round()->record().number != round ||
      before->round()->phase() != RoundPhase::kAggregating) {
    return;
  }
  const std::vector<FoldUpdate> accepted = before->round()->Accepted();
  const MadeModel made = before->masked() ? MakeMaskedModel(*before, accepted)
                                          : MakeModel(study, round, accepted);
  if (!made.lost.empty()) return AskAgain(study, round, made.lost);
  const Values* const model = &made.values;
  const absl::Status committed = Change(
      study,
      [&](StudyRun& run, coordinator::Step& step, Writes& writes, absl::Time now) -> absl::Status {
        if (!run.round() || run.round()->record().number != round ||
            run.round()->phase() != RoundPhase::kAggregating) {
          return absl::OkStatus();
        }
        if (run.round()->Accepted().size() != accepted.size()) return absl::OkStatus();
        const std::string digest = DigestOf(*model);
        CSL_ASSIGN_OR_RETURN(
            const VersionRecord version,
            run.OnModelReady({digest, 1, static_cast<int64_t>(model->size()), "layout"}, now, step));
        writes.versions.push_back(version);
        writes.models.emplace_back(digest, *model);
        return absl::OkStatus();
      });
  if (!committed.ok() && up_) world_.Fail(absl::StrCat("commit: ", committed.message()));
}

}  // namespace consilium::sim
