#include "coordinator/round/study_run.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "coordinator/round/planner.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// Why nothing more is expected of a site; empty: it is approved. In the words of whoever calls
// OnSiteGone, because OnTime may notice first.
std::string WhyGone(const std::vector<SiteView>& sites, absl::string_view name) {
  const SiteView* site = FindSite(sites, name);
  if (site == nullptr || site->state.empty()) {
    return site != nullptr && site->approved ? "" : "not approved";
  }
  if (site->approved) return "";
  if (site->state == Name(SiteState::kPending)) return "the site enrolled with another key";
  return absl::StrCat("the site was ", site->state);
}

// What a site did is recorded under its name, not the coordinator's.
AuditFacts BySite(AuditFacts facts, absl::string_view site) {
  facts.actor = std::string(site);
  facts.role = "site";
  facts.site = std::string(site);
  return facts;
}

}  // namespace

const SiteView* FindSite(const std::vector<SiteView>& sites, absl::string_view name) {
  for (const SiteView& site : sites) {
    if (site.name == name) return &site;
  }
  return nullptr;
}

absl::StatusOr<StudyRun> StudyRun::Create(const std::string& yaml, absl::string_view run_id,
                                          absl::Time now) {
  CSL_ASSIGN_OR_RETURN(StudySpec spec, ParseStudy(yaml));
  StudyRecord record;
  record.name = spec.name;
  record.run_id = std::string(run_id);
  record.yaml = StudyToYaml(spec);
  record.created_us = absl::ToUnixMicros(now);
  return StudyRun(std::move(record), std::move(spec));
}

absl::StatusOr<StudyRun> StudyRun::FromRecords(StudyRecord study, std::optional<RoundRecord> round,
                                               std::optional<EvaluationRecord> evaluation) {
  absl::StatusOr<StudySpec> spec = ParseStudy(study.yaml);
  if (!spec.ok()) {
    return absl::DataLossError(
        absl::StrCat("study ", study.name, " does not read: ", spec.status().message()));
  }
  const bool needs_round = study.stage == Stage::kInitialising || study.stage == Stage::kRound;
  if ((needs_round && !round) || (study.stage == Stage::kEvaluating && !evaluation)) {
    return absl::DataLossError(absl::StrCat("study ", study.name, " lacks its round's record"));
  }
  StudyRun run(std::move(study), *std::move(spec));
  if (round) run.round_.emplace(*std::move(round));
  run.evaluation_ = std::move(evaluation);
  return run;
}

const CohortRecord* StudyRun::Cohort(absl::string_view site) const {
  for (const CohortRecord& cohort : record_.cohort) {
    if (cohort.site == site) return &cohort;
  }
  return nullptr;
}

bool StudyRun::ended() const {
  return record_.state == StudyState::kFinished || record_.state == StudyState::kStopped ||
         record_.state == StudyState::kFailed;
}

AuditFacts StudyRun::Facts(absl::string_view action) const {
  AuditFacts facts;
  facts.actor = "coordinator";
  facts.role = "coordinator";
  facts.action = std::string(action);
  facts.study = record_.name;
  return facts;
}

void StudyRun::Enter(Stage stage, absl::Time now) {
  record_.stage = stage;
  record_.stage_since_us = absl::ToUnixMicros(now);
  record_.ready_us = 0;
}

void StudyRun::End(StudyState state, absl::string_view reason, Step& step) {
  AuditFacts facts = Facts(absl::StrCat("study.", Name(state)));
  facts.before = std::string(Name(record_.state));
  facts.after = std::string(Name(state));
  facts.reason = std::string(reason);
  facts.outcome = state == StudyState::kFailed ? "failed" : "ok";
  step.audit.push_back(std::move(facts));
  record_.state = state;
  record_.reason = std::string(reason);
}

absl::Status StudyRun::OnControl(absl::string_view action, absl::string_view reason,
                                 absl::Time now, Step& step) {
  const StudyState before = record_.state;
  const bool active = before == StudyState::kPreparing || before == StudyState::kRunning;
  const auto wrong = [&] {
    return absl::FailedPreconditionError(
        absl::StrCat("study ", record_.name, " is ", Name(before), "; it cannot ", action));
  };
  const StudyState going =
      record_.plan_json.empty() ? StudyState::kPreparing : StudyState::kRunning;
  if (action == "start") {
    if (before != StudyState::kDraft) return wrong();
    record_.state = StudyState::kPreparing;
    Enter(Stage::kPreparing, now);
  } else if (action == "pause") {
    if (!active) return wrong();
    record_.state = StudyState::kPaused;
    record_.paused_us = absl::ToUnixMicros(now);
  } else if (action == "resume") {
    if (before != StudyState::kPaused && before != StudyState::kFailed) return wrong();
    record_.state = going;
    if (before == StudyState::kPaused) {
      const absl::Duration pause = now - absl::FromUnixMicros(record_.paused_us);
      if (round_) round_->Extend(pause);
      if (round_ && round_->open()) step.rounds.push_back(round_->record());
      if (evaluation_ && evaluation_->ended_us == 0) {
        evaluation_->deadline_us += absl::ToInt64Microseconds(pause);
        step.evaluations.push_back(*evaluation_);
      }
    }
    record_.paused_us = 0;
    record_.failures_in_row = 0;
  } else if (action == "stop") {
    if (ended()) return wrong();
    record_.state = StudyState::kStopped;
  } else {
    return absl::InvalidArgumentError("an action is one of start, pause, resume, stop");
  }
  record_.reason = std::string(reason);
  AuditFacts facts = Facts(absl::StrCat("study.", action));
  facts.actor.clear();  // the caller's
  facts.before = std::string(Name(before));
  facts.after = std::string(Name(record_.state));
  facts.reason = std::string(reason);
  step.audit.push_back(std::move(facts));
  if (record_.state == StudyState::kStopped) {
    if (round_) Apply(round_->OnFailure("the study was stopped", now), now, step);
    Enter(Stage::kIdle, now);
  }
  return absl::OkStatus();
}

absl::Time StudyRun::DeadlineTime(absl::Time now) const {
  return record_.state == StudyState::kPaused ? absl::FromUnixMicros(record_.paused_us) : now;
}

void StudyRun::OnRestart(absl::Time now) {
  if (record_.state == StudyState::kPaused) return;  // the resumption moves the deadlines
  const absl::Time least = now + std::min(spec_.deadline, kRestartWindow);
  if (round_ && round_->deadline() < least) round_->Extend(least - round_->deadline());
  if (evaluation_ && evaluation_->ended_us == 0) {
    evaluation_->deadline_us = std::max(evaluation_->deadline_us, absl::ToUnixMicros(least));
  }
}

// Whoever is no longer approved gives no result. OnSiteGone says so earlier, but a crash in between
// must not make the others wait for the deadline.
void StudyRun::DropUnapproved(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  std::map<std::string, std::string> gone;
  for (const ContributionRecord& contribution : round_->record().contributions) {
    if (!round_->Awaits(contribution.site)) continue;
    std::string reason = WhyGone(sites, contribution.site);
    if (!reason.empty()) gone.emplace(contribution.site, std::move(reason));
  }
  for (const auto& [site, reason] : gone) OnSiteGone(site, reason, now, step);
}

void StudyRun::OnEvaluationTime(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  const bool over = absl::ToUnixMicros(now) > evaluation_->deadline_us;
  bool dropped = false;
  for (SiteEvaluationRecord& entry : evaluation_->sites) {
    if (entry.state != ReportState::kAwaited) continue;
    std::string reason = WhyGone(sites, entry.site);
    if (reason.empty() && over) reason = "no report before the deadline";
    if (reason.empty()) continue;
    MarkMissing(entry, reason, step);
    dropped = true;
  }
  if (dropped) SettleEvaluation(now, step);
}

void StudyRun::OnTime(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  sites_ = sites;
  waiting_.clear();
  if (record_.state != StudyState::kPreparing && record_.state != StudyState::kRunning) return;
  switch (record_.stage) {
    case Stage::kIdle:
      break;
    case Stage::kPreparing:
      FinishPreparing(sites, now, step);
      break;
    case Stage::kInitialising:
    case Stage::kRound:
      DropUnapproved(sites, now, step);
      Apply(round_->OnTime(now), now, step);
      break;
    case Stage::kBetweenRounds:
      if (record_.latest_version.empty()) {
        OpenInitialisation(sites, now, step);
      } else {
        OpenRound(sites, now, step);
      }
      break;
    case Stage::kEvaluating:
      OnEvaluationTime(sites, now, step);
      break;
  }
}

bool StudyRun::IsTrainer(const CohortRecord& cohort) const { return !spec_.IsEvaluator(cohort.site); }

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
    return !site.approved || Cohort(site.name) != nullptr;
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

void StudyRun::OpenInitialisation(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  std::vector<std::string> candidates;  // those with labels first
  for (const bool with_labels : {true, false}) {
    for (const CohortRecord& cohort : record_.cohort) {
      const SiteView* site = FindSite(sites, cohort.site);
      if (IsTrainer(cohort) && cohort.cases > 0 && site != nullptr && site->approved &&
          site->connected && (cohort.trainable_labelled() > 0) == with_labels) {
        candidates.push_back(cohort.site);
      }
    }
  }
  if (candidates.empty()) {
    waiting_ = "waiting for a connected site with cases to make the first weights";
    return;
  }
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
  Enter(Stage::kInitialising, now);
  AuditFacts facts = Facts("round.open");
  facts.round = 0;
  facts.site = chosen;
  step.audit.push_back(std::move(facts));
  step.rounds.push_back(round_->record());
}

std::string StudyRun::CannotTrain(const CohortRecord& cohort) const {
  if (cohort.trainable_labelled() > 0) return "";
  if (cohort.unlabelled() == 0) return "no case to train on";
  return spec_.semi_supervised == "none" ? "no labelled case, and the study is not semi-supervised"
                                         : "";
}

std::string StudyRun::SkipReason(const CohortRecord& cohort, const SiteView* site) const {
  if (site == nullptr || !site->approved) return "not approved";
  if (std::string reason = CannotTrain(cohort); !reason.empty()) return reason;
  return site->connected ? "" : "not connected";
}

void StudyRun::OpenRound(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  int64_t with_labels = 0, connected = 0, could = 0;
  for (const CohortRecord& cohort : record_.cohort) {
    const SiteView* site = FindSite(sites, cohort.site);
    if (!IsTrainer(cohort) || site == nullptr || !site->approved || !CannotTrain(cohort).empty()) {
      continue;
    }
    ++could;
    if (site->connected) ++connected;
    if (cohort.trainable_labelled() > 0) ++with_labels;
  }
  // Without enough sites with labels there is nothing to warm up with: all join at once.
  const bool warming_up =
      record_.rounds_committed < spec_.unlabelled_after && with_labels >= spec_.quorum;
  std::vector<Round::Invitee> invitees;
  int64_t invited = 0;
  for (const CohortRecord& cohort : record_.cohort) {
    if (!IsTrainer(cohort)) continue;
    std::string skip = SkipReason(cohort, FindSite(sites, cohort.site));
    if (skip.empty() && warming_up && cohort.trainable_labelled() == 0) {
      skip = absl::StrCat("no labelled case: joins after ", spec_.unlabelled_after, " rounds");
    }
    if (skip.empty()) ++invited;
    invitees.push_back({cohort.site, TaskId(TaskKind::kTrain, record_.round + 1, cohort.site),
                        WeightMilli(cohort.trainable_labelled(), cohort.unlabelled(), cohort),
                        std::move(skip)});
  }
  if (connected < spec_.min_sites || invited < spec_.quorum) {
    record_.ready_us = 0;
    waiting_ = absl::StrCat("waiting for sites that can train: ", connected, " of ",
                            spec_.min_sites, " are connected; ", invited, " of the quorum of ",
                            spec_.quorum, " would be invited");
    return;
  }
  if (record_.ready_us == 0) record_.ready_us = absl::ToUnixMicros(now);
  if (connected < could && now < absl::FromUnixMicros(record_.ready_us) + kGrace) return;

  ++record_.round;
  round_ = Round::Open({.study = record_.name,
                        .number = record_.round,
                        .quorum = spec_.quorum,
                        .base_version = record_.latest_version,
                        .base_sha256 = record_.latest_sha256,
                        .now = now,
                        .deadline = spec_.deadline},
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
  const double with = static_cast<double>(std::clamp<int64_t>(labelled, 0, cohort.trainable_labelled()));
  const double without =
      spec_.semi_supervised == "none"
          ? 0
          : static_cast<double>(std::clamp<int64_t>(unlabelled, 0, cohort.unlabelled()));
  return std::llround(1000 * (with + spec_.unlabelled_weight * without));
}

absl::Status StudyRun::OnUpdateVerified(absl::string_view site, VerifiedUpdate update,
                                        absl::Time now, Step& step) {
  if (!round_) return absl::FailedPreconditionError("no round is open");
  const CohortRecord* cohort = Cohort(site);
  if (cohort == nullptr) return absl::NotFoundError("the site did not report a cohort");
  const int64_t number = round_->record().number;
  update.weight_milli =
      number == 0 ? 1 : WeightMilli(update.labelled_cases, update.unlabelled_cases, *cohort);
  if (update.weight_milli == 0) {
    return absl::InvalidArgumentError("the update was not trained on any case the site reported");
  }
  CSL_ASSIGN_OR_RETURN(const RoundEffects effects,
                       round_->OnUpdateVerified(site, update, DeadlineTime(now)));
  AuditFacts facts = BySite(Facts("update.accept"), site);
  facts.round = number;
  facts.digest = update.upload_id;
  facts.count = update.bytes;
  step.audit.push_back(std::move(facts));
  Apply(effects, now, step);
  step.rounds.push_back(round_->record());
  return absl::OkStatus();
}

absl::Status StudyRun::OnUpdateRefused(absl::string_view site, absl::string_view reason,
                                       absl::Time now, Step& step) {
  if (!round_) return absl::FailedPreconditionError("no round is open");
  CSL_ASSIGN_OR_RETURN(const RoundEffects effects, round_->OnUpdateRefused(site, reason, now));
  AuditFacts facts = BySite(Facts("update.refuse"), site);
  facts.round = round_->record().number;
  facts.outcome = "refused";
  facts.reason = std::string(reason);
  step.audit.push_back(std::move(facts));
  step.rounds.push_back(round_->record());
  Apply(effects, now, step);
  return absl::OkStatus();
}

void StudyRun::OnSiteGone(absl::string_view site, absl::string_view reason, absl::Time now,
                          Step& step) {
  if (round_ && round_->Awaits(site)) {
    const RoundEffects effects = round_->OnSiteGone(site, reason, now);
    AuditFacts facts = Facts("round.drop");
    facts.round = round_->record().number;
    facts.site = std::string(site);
    facts.reason = std::string(reason);
    step.audit.push_back(std::move(facts));
    step.rounds.push_back(round_->record());
    Apply(effects, now, step);
  }
  if (record_.stage != Stage::kEvaluating) return;
  bool dropped = false;
  for (SiteEvaluationRecord& entry : evaluation_->sites) {
    if (entry.site != site || entry.state != ReportState::kAwaited) continue;
    MarkMissing(entry, reason, step);
    dropped = true;
  }
  if (dropped) SettleEvaluation(now, step);
}

// Turns the round's effects into the study's, and moves the study on where the round failed.
void StudyRun::Apply(const RoundEffects& effects, absl::Time now, Step& step) {
  if (effects.empty()) return;
  const int64_t number = round_->record().number;
  for (const RoundEffect& effect : effects) {
    if (const auto* fold = std::get_if<FoldUpdate>(&effect)) {
      step.effects.push_back(StudyFold{number, *fold});
    } else if (std::holds_alternative<Aggregate>(effect)) {
      step.effects.push_back(StudyAggregate{number});
      AuditFacts facts = Facts("round.aggregate");
      facts.round = number;
      step.audit.push_back(std::move(facts));
      step.rounds.push_back(round_->record());
    } else {
      OnRoundFailed(std::get<RoundFailed>(effect).reason, now, step);
    }
  }
}

void StudyRun::OnRoundFailed(absl::string_view reason, absl::Time now, Step& step) {
  const int64_t number = round_->record().number;
  step.rounds.push_back(round_->record());
  step.effects.push_back(DropUploads{number});
  AuditFacts facts = Facts("round.fail");
  facts.round = number;
  facts.outcome = "failed";
  facts.reason = std::string(reason);
  step.audit.push_back(std::move(facts));
  if (ended()) return;  // that is why it failed
  ++record_.failures_in_row;
  Enter(Stage::kBetweenRounds, now);
  if (record_.failures_in_row >= (number == 0 ? kInitialisationsMax : kRoundFailuresMax)) {
    End(StudyState::kFailed, absl::StrCat("round ", number, ": ", reason), step);
  }
}

absl::StatusOr<VersionRecord> StudyRun::OnModelReady(const NewModel& model, absl::Time now,
                                                     Step& step) {
  if (!round_ || round_->phase() != RoundPhase::kAggregating) {
    return absl::FailedPreconditionError("the round ended before its model was ready");
  }
  const int64_t number = round_->record().number;
  VersionRecord version;
  version.study = record_.name;
  version.number = number;
  version.version = absl::StrCat(record_.name, "/", number);
  version.sha256 = model.sha256;
  version.bytes = model.bytes;
  version.parameters = model.parameters;
  version.created_us = absl::ToUnixMicros(now);
  version.round = number;
  version.parent = record_.latest_version;
  version.plan_sha256 = record_.plan_sha256;

  AuditFacts facts = Facts("round.commit");
  facts.round = number;
  facts.version = version.version;
  facts.before = record_.latest_version;
  facts.after = version.version;
  facts.digest = model.sha256;
  // The batch's first entry is the one that a version points at.
  step.audit.insert(step.audit.begin(), std::move(facts));

  round_->OnCommitted(version.version, now);
  step.rounds.push_back(round_->record());
  step.effects.push_back(DropUploads{number});
  record_.latest_version = version.version;
  record_.latest_sha256 = model.sha256;
  record_.latest_bytes = model.bytes;
  record_.layout_sha256 = model.layout_sha256;
  record_.parameters = model.parameters;
  record_.failures_in_row = 0;
  AfterCommit(now, step);
  return version;
}

void StudyRun::AfterCommit(absl::Time now, Step& step) {
  Enter(Stage::kBetweenRounds, now);
  if (round_->record().number == 0) return;
  ++record_.rounds_committed;
  const bool last = record_.rounds_committed >= spec_.rounds;
  const bool due = spec_.evaluate_every > 0 && record_.rounds_committed % spec_.evaluate_every == 0;
  if (last || due) OpenEvaluation(now, step);
}

void StudyRun::OnAggregationFailed(absl::string_view reason, absl::Time now, Step& step) {
  if (round_) Apply(round_->OnFailure(reason, now), now, step);
}

}  // namespace consilium::coordinator
