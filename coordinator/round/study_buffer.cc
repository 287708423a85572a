// The part of StudyRun that runs asynchronous studies (aggregation.strategy: fedbuff).
//
// A buffer is a round: it opens on the newest version, closes with its `buffer`-th accepted update,
// or at its deadline with at least the quorum, and makes one version of the same number. A site gets
// a task from the newest version as soon as it has none, once for each version and round. A task
// outlives the buffer it was made in: its contribution is carried into the next one, where it counts
// by its staleness (staleness.h), and ends refused when it is staler than staleness_max.
//
// Within one buffer no update weighs more than that of the largest site known when it opened: the
// scale that keeps the sum in range must not depend on who joins later.
//
// Evaluations come between two buffers; what is being trained meanwhile goes on and is taken after.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_run.h"

namespace consilium::coordinator {

int64_t StudyRun::Staleness(const ContributionRecord& contribution) const {
  return record_.rounds_committed - contribution.base_commits;
}

// Also between two buffers, and whatever the buffer's deadline.
bool StudyRun::AwaitsCarried(const ContributionRecord& contribution) const {
  return contribution.outcome == Outcome::kAwaited && Staleness(contribution) <= spec_.staleness_max;
}

ContributionRecord StudyRun::NewTask(const std::string& site, int64_t weight_max_milli) const {
  ContributionRecord task;
  task.site = site;
  task.task_id = TaskId(TaskKind::kTrain, record_.round, site);
  task.weight_max_milli = weight_max_milli;
  task.task_round = record_.round;
  task.base_version = record_.latest_version;
  task.base_sha256 = record_.latest_sha256;
  task.base_bytes = record_.latest_bytes;
  task.base_commits = record_.rounds_committed;
  return task;
}

void StudyRun::OpenBuffer(const std::vector<Round::Invitee>& invitees, absl::Time now, Step& step) {
  std::vector<ContributionRecord> carried;
  if (round_ && round_->is_buffer()) {
    carried = round_->TakeAwaited(absl::StrCat("goes on into round ", record_.round + 1));
    if (!carried.empty()) step.rounds.push_back(round_->record());
  }
  ++record_.round;
  int64_t weight_cap = 1;
  std::vector<Round::Invitee> skipped;
  for (const Round::Invitee& invitee : invitees) {
    weight_cap = std::max(weight_cap, invitee.weight_max_milli);
    if (!invitee.skip_reason.empty()) skipped.push_back(invitee);
  }
  round_ = Round::Open({.study = record_.name,
                        .number = record_.round,
                        .quorum = spec_.quorum,
                        .base_version = record_.latest_version,
                        .base_sha256 = record_.latest_sha256,
                        .now = now,
                        .deadline = spec_.deadline,
                        .buffer = spec_.buffer,
                        .weight_cap_milli = weight_cap},
                       skipped);
  for (ContributionRecord& task : carried) {
    if (const int64_t staleness = Staleness(task); staleness > spec_.staleness_max) {
      task.outcome = Outcome::kRefused;
      task.staleness = staleness;
      task.reason = absl::StrCat("its base is ", staleness, " versions old; the study takes at most ",
                                 spec_.staleness_max);
    }
    round_->Add(std::move(task));
  }
  Enter(Stage::kRound, now);
  AuditFacts facts = Facts("round.open");
  facts.round = record_.round;
  facts.version = record_.latest_version;
  facts.count = spec_.buffer;
  step.audit.push_back(std::move(facts));
  GiveTasks(sites_, now, step);
  step.rounds.push_back(round_->record());
}

// A task from the newest version for every site that could train and has none.
void StudyRun::GiveTasks(const std::vector<SiteView>& sites, absl::Time, Step& step) {
  if (!round_->open()) return;
  bool gave = false;
  for (const Round::Invitee& invitee : Invitees(sites)) {
    if (!invitee.skip_reason.empty()) continue;
    // It works on one, has given one for this version, or said in this round that it cannot.
    const auto& all = round_->record().contributions;
    const bool has = std::any_of(all.begin(), all.end(), [&](const ContributionRecord& c) {
      return c.site == invitee.site &&
             (c.outcome == Outcome::kAwaited || c.outcome == Outcome::kDeclined ||
              (c.outcome != Outcome::kSkipped && Staleness(c) == 0));
    });
    if (has) continue;
    round_->Add(NewTask(invitee.site, invitee.weight_max_milli));
    AuditFacts facts = Facts("task.open");
    facts.round = record_.round;
    facts.site = invitee.site;
    facts.version = record_.latest_version;
    step.audit.push_back(std::move(facts));
    gave = true;
  }
  if (gave) step.rounds.push_back(round_->record());
}

void StudyRun::EndCarried(absl::string_view reason, Step& step) {
  if (!round_ || !round_->is_buffer()) return;
  if (!round_->TakeAwaited(reason).empty()) step.rounds.push_back(round_->record());
}

DropUploads StudyRun::UploadsToDrop() const {
  DropUploads drop;
  drop.round = round_->record().number;
  if (!round_->is_buffer()) return drop;
  drop.what = DropUploads::What::kTasks;
  for (const ContributionRecord& c : round_->record().contributions) {
    if (c.outcome == Outcome::kAwaited || c.outcome == Outcome::kSkipped) continue;
    drop.tasks.push_back({round_->TaskRound(c), c.task_id, c.upload_id});
  }
  return drop;
}

std::set<int64_t> StudyRun::StagedRounds() const {
  std::set<int64_t> rounds;
  if (!round_ || ended()) return rounds;
  for (const ContributionRecord& c : round_->record().contributions) {
    if (round_->under_way() || AwaitsCarried(c)) rounds.insert(round_->TaskRound(c));
  }
  return rounds;
}

}  // namespace consilium::coordinator
