// The part of StudyRun that decides when the plan is fixed, who makes the first weights and who takes
// part in a round.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_run.h"
#include "privacy/crypto/sha256.h"

namespace consilium::coordinator {

namespace {
constexpr int64_t kEqualWeightMilli = 1;  // one unit, in masked words too
}  // namespace

bool StudyRun::IsTrainer(const CohortRecord& cohort) const { return !spec_.IsEvaluator(cohort.site); }

std::string StudyRun::CannotTrain(const CohortRecord& cohort) const {
  if (cohort.trainable_labelled() > 0) return "";
  if (cohort.unlabelled() == 0) return "no case to train on";
  return spec_.semi_supervised == "none" ? "no labelled case, and the study is not semi-supervised"
                                         : "";
}

std::string StudyRun::Lacks(const SiteView& site) const {
  return LackingText(needs_, site.capabilities);
}

std::string StudyRun::SkipReason(const CohortRecord& cohort, const SiteView* site) const {
  if (site == nullptr || !site->approved) return "not approved";
  if (std::string lacks = Lacks(*site); !lacks.empty()) return lacks;
  if (std::string reason = CannotTrain(cohort); !reason.empty()) return reason;
  return site->connected ? "" : "not connected";
}

void StudyRun::FinishPreparing(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  std::vector<CohortRecord> trainers;
  for (const CohortRecord& cohort : record_.cohort) {
    if (IsTrainer(cohort) && CannotTrain(cohort).empty()) trainers.push_back(cohort);
  }
  if (static_cast<int64_t>(trainers.size()) < spec_.min_sites) {
    record_.ready_us = 0;
    waiting_ = absl::StrCat("waiting for sites with data to train on: ", trainers.size(), " of ",
                            spec_.min_sites);
    return;
  }
  if (record_.ready_us == 0) record_.ready_us = absl::ToUnixMicros(now);
  const bool all = std::all_of(sites.begin(), sites.end(), [&](const SiteView& site) {
    return !site.approved || Cohort(site.name) != nullptr || !Lacks(site).empty();
  });
  if (!all && now < absl::FromUnixMicros(record_.ready_us) + kGrace) return;

  const absl::StatusOr<wire::Plan> plan = MakePlan(spec_, trainers);
  if (!plan.ok()) {
    End(StudyState::kFailed, plan.status().message(), step);
    return;
  }
  record_.plan_json = wire::PlanToJson(*plan);
  record_.plan_sha256 = privacy::Sha256Hex(record_.plan_json);
  record_.state = StudyState::kRunning;
  Enter(Stage::kBetweenRounds, now);
  AuditFacts facts = Facts("study.plan");
  facts.digest = record_.plan_sha256;
  facts.count = static_cast<int64_t>(trainers.size());
  step.audit.push_back(std::move(facts));
}

bool StudyRun::CanInitialise(const CohortRecord& cohort, const std::vector<SiteView>& sites) const {
  const SiteView* site = FindSite(sites, cohort.site);
  return IsTrainer(cohort) && cohort.cases > 0 && site != nullptr && site->approved &&
         site->connected && Lacks(*site).empty();
}

void StudyRun::OpenInitialisation(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  std::vector<std::string> candidates;  // those with labels first
  for (const bool with_labels : {true, false}) {
    for (const CohortRecord& cohort : record_.cohort) {
      if (CanInitialise(cohort, sites) && (cohort.trainable_labelled() > 0) == with_labels) {
        candidates.push_back(cohort.site);
      }
    }
  }
  if (candidates.empty()) {
    waiting_ = "waiting for a connected site with cases to make the first weights";
    return;
  }
  if (!HasRoom(1, step)) return;
  const std::string& chosen = candidates[static_cast<size_t>(record_.attempt) % candidates.size()];
  ++record_.attempt;
  round_ = Round::Open({.study = record_.name,
                        .number = 0,
                        .quorum = 1,
                        .base_version = "",
                        .base_sha256 = "",
                        .now = now,
                        .deadline = spec_.deadline},
                       {{.site = chosen,
                         .task_id = TaskId(TaskKind::kInitialise, 0, chosen),
                         .weight_max_milli = 1,
                         .skip_reason = ""}});
  leases_from_ = now;
  Enter(Stage::kInitialising, now);
  AuditFacts facts = Facts("round.open");
  facts.round = 0;
  facts.site = chosen;
  step.audit.push_back(std::move(facts));
  step.rounds.push_back(round_->record());
}

int64_t StudyRun::AwaitedCount() const {
  if (!round_) return 0;
  const auto& parts = round_->record().contributions;
  return std::count_if(parts.begin(), parts.end(), [](const ContributionRecord& part) {
    return part.outcome == Outcome::kAwaited;
  });
}

uint64_t StudyRun::BytesAhead() const {
  if (!round_ || ended()) return 0;
  return static_cast<uint64_t>(AwaitedCount() + (round_->under_way() ? 1 : 0)) *
         static_cast<uint64_t>(record_.latest_bytes);
}

bool StudyRun::HasRoom(int64_t updates, Step& step) {
  const uint64_t need = static_cast<uint64_t>(updates + 1) *
                        static_cast<uint64_t>(record_.latest_bytes);
  // Before there is a model nobody knows its size: the floor alone counts.
  if (!room_ || (*room_ >= need && *room_ > 0)) {
    wants_room_ = false;
    return true;
  }
  waiting_ = "waiting for room on the coordinator's disk: ";
  absl::StrAppend(&waiting_, *room_, " bytes are free above disk_floor_bytes");
  if (need > 0) {
    absl::StrAppend(&waiting_, " where the next round may write ", need, " (", updates,
                    " updates and a version)");
  }
  absl::StrAppend(&waiting_, "; make room, or lower it");
  // Below the floor itself the disk's own entry says so already.
  if (!wants_room_ && *room_ > 0) {
    AuditFacts facts = Facts("disk.low");
    facts.reason = waiting_;
    step.audit.push_back(std::move(facts));
  }
  wants_room_ = true;
  return false;
}

// Without enough sites with labels there is nothing to warm up with: all join at once.
bool StudyRun::WarmingUp(const std::vector<SiteView>& sites) const {
  const auto with_labels =
      std::count_if(record_.cohort.begin(), record_.cohort.end(), [&](const CohortRecord& cohort) {
        const SiteView* site = FindSite(sites, cohort.site);
        return IsTrainer(cohort) && site != nullptr && site->approved && Lacks(*site).empty() &&
               CannotTrain(cohort).empty() && cohort.trainable_labelled() > 0;
      });
  return record_.rounds_committed < spec_.unlabelled_after && with_labels >= spec_.quorum;
}

std::vector<Round::Invitee> StudyRun::Invitees(const std::vector<SiteView>& sites) const {
  const bool warming_up = WarmingUp(sites);
  std::vector<Round::Invitee> invitees;
  for (const CohortRecord& cohort : record_.cohort) {
    if (!IsTrainer(cohort)) continue;
    std::string skip = SkipReason(cohort, FindSite(sites, cohort.site));
    // A site that the study requires has to be in every round, so it does not wait.
    if (skip.empty() && warming_up && cohort.trainable_labelled() == 0 &&
        !spec_.IsRequired(cohort.site)) {
      skip = absl::StrCat("no labelled case: joins after ", spec_.unlabelled_after, " rounds");
    }
    invitees.push_back({cohort.site, TaskId(TaskKind::kTrain, record_.round + 1, cohort.site),
                        WeightMilli(cohort.trainable_labelled(), cohort.unlabelled(), cohort),
                        std::move(skip)});
  }
  for (const SiteView& site : sites) {  // whoever could not even be asked for its data
    if (!site.approved || Cohort(site.name) != nullptr || spec_.IsEvaluator(site.name)) continue;
    if (std::string lacks = Lacks(site); !lacks.empty()) {
      invitees.push_back({site.name, TaskId(TaskKind::kTrain, record_.round + 1, site.name), 0,
                          std::move(lacks)});
    }
  }
  return invitees;
}

// The required sites that would not take part, with the reasons; empty: all would.
std::string StudyRun::AbsentRequired(const std::vector<Round::Invitee>& invitees) const {
  std::vector<std::string> absent;
  for (const std::string& name : spec_.required) {
    const auto it = std::find_if(invitees.begin(), invitees.end(),
                                 [&](const Round::Invitee& i) { return i.site == name; });
    if (it == invitees.end()) {
      absent.push_back(absl::StrCat(name, " (has not reported its data)"));
    } else if (!it->skip_reason.empty()) {
      absent.push_back(absl::StrCat(name, " (", it->skip_reason, ")"));
    }
  }
  return absl::StrJoin(absent, ", ");
}

void StudyRun::OpenRound(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  int64_t connected = 0, could = 0;
  for (const CohortRecord& cohort : record_.cohort) {
    const SiteView* site = FindSite(sites, cohort.site);
    if (!IsTrainer(cohort) || site == nullptr || !site->approved || !Lacks(*site).empty() ||
        !CannotTrain(cohort).empty()) {
      continue;
    }
    ++could;
    if (site->connected) ++connected;
  }
  const std::vector<Round::Invitee> invitees = Invitees(sites);
  const int64_t invited = std::count_if(invitees.begin(), invitees.end(), [](const auto& invitee) {
    return invitee.skip_reason.empty();
  });
  const std::string absent = AbsentRequired(invitees);
  if (connected < spec_.min_sites || invited < spec_.quorum || !absent.empty()) {
    record_.ready_us = 0;
    waiting_ = absl::StrCat("waiting for sites that can train: ", connected, " of ",
                            spec_.min_sites, " are connected; ", invited, " of the quorum of ",
                            spec_.quorum, " would be invited",
                            absent.empty() ? "" : "; required: ", absent);
    return;
  }
  if (record_.ready_us == 0) record_.ready_us = absl::ToUnixMicros(now);
  const bool waits = !buffered() || record_.round == 0;  // the next buffer waits for nobody
  if (waits && connected < could && now < absl::FromUnixMicros(record_.ready_us) + kGrace) return;

  // Of a buffer also what was begun in earlier ones and goes on.
  if (!HasRoom(std::max(invited, AwaitedCount()), step)) return;
  leases_from_ = now;
  if (buffered()) {
    OpenBuffer(invitees, now, step);
    return;
  }
  MaskingRecord masking;
  if (spec_.masked()) {
    absl::StatusOr<MaskedRound> masked = OpenMasking(invitees, now);
    if (!masked.ok()) {
      waiting_ = absl::StrCat("waiting for sites whose updates can be summed: ",
                              masked.status().message());
      return;
    }
    masking = masked->record();
    masked_ = *std::move(masked);
  }
  ++record_.round;
  round_ = Round::Open({.study = record_.name,
                        .number = record_.round,
                        .quorum = spec_.quorum,
                        .base_version = record_.latest_version,
                        .base_sha256 = record_.latest_sha256,
                        .now = now,
                        .deadline = spec_.deadline,
                        .required = spec_.required,
                        .masking = std::move(masking)},
                       invitees);
  Enter(Stage::kRound, now);
  AuditFacts facts = Facts("round.open");
  facts.round = record_.round;
  facts.version = record_.latest_version;
  facts.count = invited;
  step.audit.push_back(std::move(facts));
  step.rounds.push_back(round_->record());
}

int64_t StudyRun::WeightMilli(int64_t labelled, int64_t unlabelled,
                              const CohortRecord& cohort) const {
  // SCAFFOLD's control is the mean over sites, and noise that hides one site is calibrated for sites
  // that count alike (study_privacy.h).
  const bool equal = spec_.algorithm.kind == "scaffold" || spec_.privacy.level == "site";
  if (equal) return labelled + unlabelled > 0 ? kEqualWeightMilli : 0;
  const double with = static_cast<double>(std::clamp<int64_t>(labelled, 0, cohort.trainable_labelled()));
  const double without =
      spec_.semi_supervised == "none"
          ? 0
          : static_cast<double>(std::clamp<int64_t>(unlabelled, 0, cohort.unlabelled()));
  return std::llround(1000 * (with + spec_.unlabelled_weight * without));
}

}  // namespace consilium::coordinator
