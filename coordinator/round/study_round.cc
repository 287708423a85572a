// The part of StudyRun that runs an open round: updates, its end, and what follows.
#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/round/staleness.h"
#include "coordinator/round/study_run.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// What a site did is recorded under its name, not the coordinator's.
AuditFacts BySite(AuditFacts facts, absl::string_view site) {
  facts.actor = std::string(site);
  facts.role = "site";
  facts.site = std::string(site);
  return facts;
}

constexpr size_t kDeclineReasonBytesMax = 200;

bool IsPlainText(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

absl::Status NotAwaited() {
  return absl::FailedPreconditionError("the task is no longer awaited; ask for the next task");
}

}  // namespace

absl::Status StudyRun::OnUpdateVerified(absl::string_view site, VerifiedUpdate update,
                                        absl::Time now, Step& step) {
  if (!round_) return absl::FailedPreconditionError("no round is open");
  const CohortRecord* cohort = Cohort(site);
  if (cohort == nullptr) return absl::NotFoundError("the site did not report a cohort");
  const int64_t number = round_->record().number;
  if (masked_) {
    // Which one is missing was settled when the survivors were fixed: the same bytes come again.
    if (!masked_->survivors_fixed()) CSL_RETURN_IF_ERROR(masked_->CheckDelivery(site));
  } else {
    update.weight_milli =
        number == 0 ? 1 : WeightMilli(update.labelled_cases, update.unlabelled_cases, *cohort);
  }
  if (update.weight_milli == 0 && !masked_) {
    return absl::InvalidArgumentError("the update was not trained on any case the site reported");
  }
  if (const ContributionRecord* awaited = round_->Find(site); buffered() && awaited != nullptr) {
    update.staleness = Staleness(*awaited);
    update.discount = StalenessDiscount(update.staleness, spec_.staleness_exponent);
  }
  CSL_ASSIGN_OR_RETURN(const RoundEffects effects,
                       round_->OnUpdateVerified(site, update, DeadlineTime(now)));
  AuditFacts facts = BySite(Facts("update.accept"), site);
  facts.round = number;
  facts.digest = update.upload_id;
  facts.count = update.bytes;
  // It counts, because a site may have learnt nothing; people should know all the same.
  if (update.all_zero) facts.reason = "all values are zero: the site may be a free rider";
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

absl::Status StudyRun::OnDeclined(absl::string_view site, absl::string_view task_id,
                                  absl::string_view reason, absl::Time now, Step& step) {
  if (reason.empty() || reason.size() > kDeclineReasonBytesMax || !IsPlainText(reason)) {
    return absl::InvalidArgumentError("reason: must be 1 to 200 printable ASCII characters");
  }
  if (record_.state == StudyState::kDraft || ended()) return NotAwaited();
  AuditFacts facts = BySite(Facts("task.decline"), site);
  facts.outcome = "refused";
  facts.reason = std::string(reason);
  if (task_id == TaskId(TaskKind::kPrepare, 0, site)) {
    const auto last = prepared_.find(site);
    if (last != prepared_.end() && now < last->second + kPrepareAgain) return absl::OkStatus();
    prepared_.insert_or_assign(std::string(site), now);  // asked again after a while
    step.audit.push_back(std::move(facts));
    return absl::OkStatus();
  }
  const ContributionRecord* own = round_ ? round_->FindTask(task_id) : nullptr;
  if (own != nullptr && own->site == site) {
    if (own->outcome == Outcome::kDeclined) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(const RoundEffects effects, round_->OnDeclined(site, reason, now));
    facts.round = round_->record().number;
    step.audit.push_back(std::move(facts));
    step.rounds.push_back(round_->record());
    Apply(effects, now, step);
    return absl::OkStatus();
  }
  if (AwaitsUnmasking(site, task_id)) {
    facts.round = round_->record().number;
    step.audit.push_back(std::move(facts));
    OnUnmaskingDeclined(site, reason, now, step);
    return absl::OkStatus();
  }
  if (!evaluation_ || record_.stage != Stage::kEvaluating) return NotAwaited();
  for (SiteEvaluationRecord& entry : evaluation_->sites) {
    if (entry.site != site || entry.task_id != task_id) continue;
    if (entry.state != ReportState::kAwaited) return absl::OkStatus();
    step.audit.push_back(std::move(facts));
    MarkMissing(entry, absl::StrCat("declined: ", reason), step);
    SettleEvaluation(now, step);
    return absl::OkStatus();
  }
  return NotAwaited();
}

// Turns the round's effects into the study's, and moves the study on where the round failed.
void StudyRun::Apply(const RoundEffects& effects, absl::Time now, Step& step) {
  if (effects.empty()) return;
  const int64_t number = round_->record().number;
  for (const RoundEffect& effect : effects) {
    if (std::holds_alternative<Aggregate>(effect)) {
      step.effects.push_back(StudyAggregate{number});
      AuditFacts facts = Facts("round.aggregate");
      facts.round = number;
      step.audit.push_back(std::move(facts));
      step.rounds.push_back(round_->record());
    } else if (std::holds_alternative<Unmask>(effect)) {
      StartUnmasking(now, step);
    } else {
      OnRoundFailed(std::get<RoundFailed>(effect).reason, now, step);
    }
  }
}

void StudyRun::OnRoundFailed(absl::string_view reason, absl::Time now, Step& step) {
  const int64_t number = round_->record().number;
  step.rounds.push_back(round_->record());
  step.effects.push_back(UploadsToDrop());
  EndMasking(step);
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

VersionRecord StudyRun::NextVersion(const NewModel& model, int64_t number,
                                    absl::string_view origin, absl::Time now) const {
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
  version.origin = std::string(origin);
  version.code_version = CONSILIUM_VERSION;
  if (!version.parent.empty()) version.parents = {version.parent};
  return version;
}

absl::StatusOr<VersionRecord> StudyRun::OnModelReady(const NewModel& model, absl::Time now,
                                                     Step& step) {
  if (!round_ || round_->phase() != RoundPhase::kAggregating) {
    return absl::FailedPreconditionError("the round ended before its model was ready");
  }
  const int64_t number = round_->record().number;
  VersionRecord version = NextVersion(model, number, number == 0 ? "initialise" : "round", now);
  for (const ContributionRecord& contribution : round_->record().contributions) {
    if (contribution.outcome == Outcome::kAccepted || contribution.outcome == Outcome::kFolded) {
      version.sites.push_back(contribution.site);
    }
  }
  std::sort(version.sites.begin(), version.sites.end());

  AuditFacts facts = Facts("round.commit");
  facts.round = number;
  facts.version = version.version;
  facts.before = record_.latest_version;
  facts.after = version.version;
  facts.digest = model.sha256;
  // The batch's first entry is the one that a version points at.
  step.audit.insert(step.audit.begin(), std::move(facts));

  if (masked_) {
    masked_->SetSums(model.masked_sums);
    round_->SetMasking(masked_->record());
  }
  for (const auto& [site, reason] : model.outvoted) {
    AuditFacts outvoted = Facts("update.outvote");
    outvoted.round = number;
    outvoted.site = site;
    outvoted.reason = reason;
    step.audit.push_back(std::move(outvoted));
  }
  round_->OnCommitted(version.version, now);
  EndMasking(step);
  step.rounds.push_back(round_->record());
  step.effects.push_back(UploadsToDrop());
  record_.latest_version = version.version;
  record_.latest_sha256 = model.sha256;
  record_.latest_bytes = model.bytes;
  record_.layout_sha256 = model.layout_sha256;
  record_.parameters = model.parameters;
  record_.change_rms = model.change_rms;
  record_.optimizer_sha256 = model.optimizer_sha256;
  record_.optimizer_bytes = model.optimizer_bytes;
  record_.control_sha256 = model.control_sha256;
  record_.control_bytes = model.control_bytes;
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
  if (last) EndCarried("the study has all its versions", step);
  if (last || due) OpenEvaluation(now, step);
}

void StudyRun::OnAggregationFailed(absl::string_view reason, absl::Time now, Step& step) {
  if (round_) Apply(round_->OnFailure(reason, now), now, step);
}

absl::Status StudyRun::OnUpdatesLost(const std::vector<std::string>& task_ids, absl::Time now,
                                     Step& step) {
  if (!round_ || !round_->under_way()) {
    return absl::FailedPreconditionError("the round has ended");
  }
  for (const std::string& task_id : task_ids) {
    const ContributionRecord* lost = round_->FindTask(task_id);
    if (lost == nullptr || lost->outcome != Outcome::kAccepted) continue;
    AuditFacts facts = Facts("update.lost");
    facts.round = round_->record().number;
    facts.site = lost->site;
    facts.digest = lost->upload_id;
    facts.outcome = "failed";
    facts.reason = "its stored bytes are gone or damaged; the site is asked for them again";
    step.audit.push_back(std::move(facts));
  }
  round_->OnUpdatesLost(task_ids);
  LeaveTime(DeadlineTime(now));
  step.rounds.push_back(round_->record());
  return absl::OkStatus();
}

std::vector<StudyEffect> StudyRun::Resume() const {
  if (!round_ || round_->phase() != RoundPhase::kAggregating) return {};
  return {StudyAggregate{round_->record().number}};
}

}  // namespace consilium::coordinator
