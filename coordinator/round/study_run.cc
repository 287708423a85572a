#include "coordinator/round/study_run.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/planner.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {

const SiteView* FindSite(const std::vector<SiteView>& sites, absl::string_view name) {
  const auto it =
      std::lower_bound(sites.begin(), sites.end(), name,
                       [](const SiteView& site, absl::string_view n) { return site.name < n; });
  return it == sites.end() || it->name != name ? nullptr : &*it;
}

std::string WhyGone(const std::vector<SiteView>& sites, absl::string_view name) {
  const SiteView* site = FindSite(sites, name);
  if (site == nullptr || site->state.empty()) {
    return site != nullptr && site->approved ? "" : "not approved";
  }
  if (site->approved) return "";
  if (site->state == Name(SiteState::kPending)) return "the site enrolled with another key";
  return absl::StrCat("the site was ", site->state);
}

StudyRun::StudyRun(StudyRecord record, StudySpec spec)
    : record_(std::move(record)), spec_(std::move(spec)), needs_(CapabilitiesNeeded(spec_)) {
  Provisional provisional;
  provisional.json = wire::PlanToJson(ProvisionalPlan(spec_));
  provisional.sha256 = privacy::Sha256Hex(provisional.json);
  provisional_ = std::make_shared<const Provisional>(std::move(provisional));
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
                                               std::optional<EvaluationRecord> evaluation,
                                               std::vector<AgreementRecord> agreements) {
  absl::StatusOr<StudySpec> spec = ParseStudy(study.yaml);
  if (!spec.ok()) {
    return absl::DataLossError(
        absl::StrCat("study ", study.name, " does not read: ", spec.status().message()));
  }
  const bool needs_round = study.stage == Stage::kInitialising || study.stage == Stage::kRound;
  if ((needs_round && !round) || (study.stage == Stage::kEvaluating && !evaluation)) {
    return absl::DataLossError(absl::StrCat("study ", study.name, " lacks its round's record"));
  }
  std::sort(study.cohort.begin(), study.cohort.end(),
            [](const CohortRecord& a, const CohortRecord& b) { return a.site < b.site; });
  StudyRun run(std::move(study), *std::move(spec));
  if (round) run.round_.emplace(*std::move(round));
  if (run.round_ && run.round_->is_masked() && run.round_->under_way()) {
    CSL_ASSIGN_OR_RETURN(run.masked_, MaskedRound::FromRecords(run.round_->record(), agreements));
  }
  run.evaluation_ = std::move(evaluation);
  return run;
}

const CohortRecord* StudyRun::Cohort(absl::string_view site) const {
  const auto it = std::lower_bound(
      record_.cohort.begin(), record_.cohort.end(), site,
      [](const CohortRecord& cohort, absl::string_view name) { return cohort.site < name; });
  return it == record_.cohort.end() || it->site != site ? nullptr : &*it;
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

absl::Status StudyRun::OnControl(absl::string_view action, absl::string_view reason, absl::Time now,
                                 Step& step) {
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
      leases_from_ = now;
      if (round_) round_->Extend(pause);
      if (masked_) {
        masked_->Extend(pause);
        round_->SetMasking(masked_->record());
      }
      if (round_ && (round_->open() || masked_)) step.rounds.push_back(round_->record());
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
    EndCarried("the study was stopped", step);
    Enter(Stage::kIdle, now);
  }
  return absl::OkStatus();
}

absl::Time StudyRun::DeadlineTime(absl::Time now) const {
  return record_.state == StudyState::kPaused ? absl::FromUnixMicros(record_.paused_us) : now;
}

void StudyRun::OnRestart(absl::Time now) {
  leases_from_ = now;
  if (record_.state == StudyState::kPaused) return;  // the resumption moves the deadlines
  LeaveTime(now);
  const absl::Time least = now + std::min(spec_.deadline, kRestartWindow);
  if (evaluation_ && evaluation_->ended_us == 0) {
    evaluation_->deadline_us = std::max(evaluation_->deadline_us, absl::ToUnixMicros(least));
  }
}

void StudyRun::LeaveTime(absl::Time now) {
  const absl::Time least = now + std::min(spec_.deadline, kRestartWindow);
  if (round_ && round_->deadline() < least) round_->Extend(least - round_->deadline());
  if (masked_) {
    masked_->LeaveTime(now + std::min(spec_.deadline, kAgreementWindow));
    round_->SetMasking(masked_->record());
  }
}

// Whoever is no longer approved gives no result. OnSiteGone says so earlier, but a crash in between
// must not make the others wait for the deadline.
void StudyRun::DropUnapproved(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  std::map<std::string, std::string> gone;
  if (!round_->open()) return;
  for (const ContributionRecord& contribution : round_->record().contributions) {
    if (contribution.outcome != Outcome::kAwaited) continue;
    std::string reason = WhyGone(sites, contribution.site);
    if (!reason.empty()) gone.emplace(contribution.site, std::move(reason));
  }
  for (const auto& [site, reason] : gone) OnSiteGone(site, reason, now, step);
}

// What a revoked site gave does not go into a version that is yet to be made.
void StudyRun::DropRevoked(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  if (!round_) return;
  std::set<std::string> revoked;
  for (const ContributionRecord& contribution : round_->record().contributions) {
    if (contribution.outcome != Outcome::kAccepted) continue;
    const SiteView* site = FindSite(sites, contribution.site);
    if (site != nullptr && site->state == Name(SiteState::kRevoked)) revoked.insert(site->name);
  }
  for (const std::string& site : revoked) {
    const Round::Withdrawal withdrawal = round_->OnRevoked(site, WhyGone(sites, site), now);
    if (withdrawal.parts.empty()) continue;
    DropUploads drop = {.round = round_->record().number, .what = DropUploads::What::kTasks};
    for (const ContributionRecord& part : withdrawal.parts) {
      drop.tasks.push_back({round_->TaskRound(part), part.task_id, part.upload_id});
      AuditFacts facts = Facts("update.drop");
      facts.round = drop.round;
      facts.site = site;
      facts.digest = part.upload_id;
      facts.outcome = "refused";
      facts.reason = WhyGone(sites, site);
      step.audit.push_back(std::move(facts));
    }
    step.rounds.push_back(round_->record());
    step.effects.push_back(std::move(drop));
    Apply(withdrawal.effects, now, step);
  }
}

bool StudyRun::IsSilent(absl::string_view site, absl::Time now) const {
  const SiteView* view = FindSite(sites_, site);
  const absl::Time heard = view == nullptr ? absl::InfinitePast() : view->heard;
  return now - std::max(heard, leases_from_) > spec_.lease;
}

bool StudyRun::IsStalled(absl::string_view site, absl::Time now) const {
  const SiteView* view = FindSite(sites_, site);
  if (view == nullptr || view->advanced == absl::InfiniteFuture()) return false;
  return now - std::max(view->advanced, leases_from_) > spec_.stall;
}

std::string StudyRun::WhyIdle(absl::string_view site, absl::Time now) const {
  if (IsSilent(site, now)) return absl::StrCat("silent for ", absl::FormatDuration(spec_.lease));
  if (!IsStalled(site, now)) return "";
  return absl::StrCat("made no progress for ", absl::FormatDuration(spec_.stall), " (",
                      FindSite(sites_, site)->counters, ")");
}

void StudyRun::OnSilence(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  if (!round_ || !round_->open()) return;
  std::vector<Round::Idle> idle;
  for (const ContributionRecord& contribution : round_->record().contributions) {
    if (contribution.outcome != Outcome::kAwaited) continue;
    std::string why = WhyIdle(contribution.site, now);
    if (!why.empty()) idle.push_back({contribution.site, std::move(why)});
  }
  if (record_.stage == Stage::kInitialising) {
    const bool another = std::any_of(sites.begin(), sites.end(), [&](const SiteView& site) {
      const CohortRecord* cohort = Cohort(site.name);
      return cohort != nullptr && CanInitialise(*cohort, sites) && WhyIdle(site.name, now).empty();
    });
    if (another && !idle.empty()) OnSiteGone(idle.front().site, idle.front().why, now, step);
    return;
  }
  const RoundEffects effects = round_->OnSilence(idle, now);
  if (effects.empty()) return;
  for (const Round::Idle& one : idle) {
    AuditFacts facts = Facts("round.drop");
    facts.round = round_->record().number;
    facts.site = one.site;
    facts.reason = one.why;
    step.audit.push_back(std::move(facts));
  }
  Apply(effects, now, step);
}

void StudyRun::OnTime(const std::vector<SiteView>& sites, absl::Time now, Step& step) {
  CSL_CHECK(std::is_sorted(sites.begin(), sites.end(),
                           [](const SiteView& a, const SiteView& b) { return a.name < b.name; }));
  sites_ = sites;
  waiting_.clear();
  DropRevoked(sites, now, step);  // also in a pause: a model may be on its way
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
      OnMaskingTime(now, step);
      if (buffered() && record_.stage == Stage::kRound) GiveTasks(sites, now, step);
      OnSilence(sites, now, step);
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

absl::Status TakeTurn(StudyRun& run, const std::vector<SiteView>& sites, absl::Time now, Step& step,
                      const std::function<absl::Status(StudyRun& run, Step& step)>& event) {
  run.OnTime(sites, now, step);
  absl::Status result = event(run, step);
  run.OnTime(sites, now, step);
  return result;
}

}  // namespace consilium::coordinator
