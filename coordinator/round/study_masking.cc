// The part of StudyRun that sees a masked round through: agreement on keys, survivors, unmasking.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_run.h"
#include "privacy/secagg/protocol.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// Of the values of a rotated update, in standard deviations of the last mean's: single updates are
// larger than their mean, and what is cut off is lost.
constexpr double kClipDeviations = 10;
constexpr double kClipMin = 1e-6;

absl::Status NoSuchTask() {
  return absl::NotFoundError("the site has no such task; ask for the next one");
}

}  // namespace

AuditFacts StudyRun::MaskingFacts(absl::string_view action, absl::string_view site) const {
  AuditFacts facts = Facts(action);
  facts.round = round_->record().number;
  if (!site.empty()) {
    facts.actor = facts.site = std::string(site);
    facts.role = "site";
    facts.digest = HexEncode(masked_->SessionIdOf(site));
  }
  return facts;
}

absl::StatusOr<MaskedRound> StudyRun::OpenMasking(const std::vector<Round::Invitee>& invitees,
                                                  absl::Time now) const {
  MaskedRound::Options options;
  options.study = record_.name;
  options.round = record_.round + 1;
  options.job = absl::StrCat(federation_, "/", record_.name);
  options.base_sha256 = record_.latest_sha256;
  options.group_seed = record_.run_id;
  options.protection = spec_.protection;
  options.clip = spec_.protection.clip;
  if (spec_.protection.bits == 16 && record_.change_rms > 0) {
    options.clip =
        std::clamp(kClipDeviations * record_.change_rms, kClipMin, spec_.protection.clip);
  }
  options.parameters = record_.parameters * (spec_.algorithm.kind == "scaffold" ? 2 : 1);
  int64_t cap = 1;
  for (const Round::Invitee& invitee : invitees) cap = std::max(cap, invitee.weight_max_milli);
  options.weight_unit_milli = (cap + secagg::kWeightMax - 1) / secagg::kWeightMax;
  options.weight_total = 0;
  for (const Round::Invitee& invitee : invitees) {
    if (!invitee.skip_reason.empty()) continue;
    options.sites.push_back(invitee.site);
    options.weight_total +=
        std::max<int64_t>(1, invitee.weight_max_milli / options.weight_unit_milli);
  }
  options.now = now;
  options.window = std::min(kAgreementWindow, spec_.deadline / 4);
  return MaskedRound::Open(options);
}

void StudyRun::OnMaskingTime(absl::Time now, Step& step) {
  if (!masked_) return;
  if (round_->phase() == RoundPhase::kUnmasking) {
    if (masked_->IsLate(now)) {
      Apply(round_->OnFailure("too few sites gave what opens the masked sum in time", now), now,
            step);
    }
    return;
  }
  if (!round_->open()) return;
  std::vector<std::string> awaited;
  for (const ContributionRecord& contribution : round_->record().contributions) {
    if (contribution.outcome == Outcome::kAwaited) awaited.push_back(contribution.site);
  }
  const std::vector<RosterRecord> before = masked_->record().rosters;
  bool changed = false;
  const std::vector<MaskedRound::LeftOut> out = masked_->OnTime(awaited, now, changed);
  if (!changed) return;
  round_->SetMasking(masked_->record());
  for (size_t i = 0; i < before.size(); ++i) {
    const RosterRecord& roster = masked_->record().rosters[i];
    if (roster.phase == before[i].phase && roster.failed == before[i].failed) continue;
    AuditFacts facts = MaskingFacts(absl::StrCat("masking.", Name(roster.phase)), "");
    facts.digest = HexEncode(masked_->SessionIdOf(roster.sites.front()));
    facts.count = static_cast<int64_t>(
        roster.phase == MaskingPhase::kMasked ? roster.sharing.size() : roster.sites.size());
    facts.reason = roster.failed;
    if (!roster.failed.empty()) facts.outcome = "failed";
    step.audit.push_back(std::move(facts));
  }
  step.rounds.push_back(round_->record());
  for (const MaskedRound::LeftOut& one : out) {
    if (!masked_) return;  // the round failed with the one before
    OnSiteGone(one.site, one.reason, now, step);
  }
  if (!masked_ || !round_->open()) return;
  Apply(round_->RaiseQuorum(masked_->SitesNeeded(), now), now, step);
  step.rounds.push_back(round_->record());
}

bool StudyRun::AwaitsKeys(absl::string_view site, absl::string_view task_id,
                          const AgreeKeys& said) const {
  const ContributionRecord* own = round_ ? round_->FindTask(task_id) : nullptr;
  if (own == nullptr || own->site != site || !masked_) return false;
  return !masked_->Knows(said.keys.announcement, said.shares ? &*said.shares : nullptr);
}

absl::Status StudyRun::OnAgreeKeys(absl::string_view site, absl::string_view task_id,
                                   const AgreeKeys& said, const MaskedRound::Verifier& verify,
                                   Step& step) {
  const ContributionRecord* own = round_ ? round_->FindTask(task_id) : nullptr;
  if (own == nullptr || own->site != site || !masked_) return NoSuchTask();
  if (said.keys.announcement.site != site) {
    return absl::InvalidArgumentError("keys: they are of another site");
  }
  const auto keep = [&](std::optional<AgreementRecord> record, absl::string_view action) {
    if (!record) return;
    step.agreements.push_back(*std::move(record));
    step.audit.push_back(MaskingFacts(action, site));
  };
  CSL_ASSIGN_OR_RETURN(std::optional<AgreementRecord> keys, masked_->OnKeys(said.keys, verify));
  keep(std::move(keys), "masking.announce");
  if (said.shares) {
    CSL_ASSIGN_OR_RETURN(std::optional<AgreementRecord> shares,
                         masked_->OnShares(site, *said.shares));
    keep(std::move(shares), "masking.share");
  }
  return absl::OkStatus();
}

absl::StatusOr<MaskedRound::Agreement> StudyRun::AgreementFor(absl::string_view site,
                                                              absl::string_view task_id) const {
  const ContributionRecord* own = round_ ? round_->FindTask(task_id) : nullptr;
  if (own == nullptr || own->site != site) return NoSuchTask();
  if (!masked_ || own->outcome != Outcome::kAwaited) {
    MaskedRound::Agreement out;
    out.stage = MaskedRound::Stage::kOut;
    out.reason = own->reason.empty() ? "the round no longer awaits the site" : own->reason;
    return out;
  }
  return masked_->AgreementFor(site);
}

void StudyRun::StartUnmasking(absl::Time now, Step& step) {
  std::vector<std::string> delivered;
  for (const FoldUpdate& update : round_->Accepted()) delivered.push_back(update.site);
  const absl::Duration window = std::min(kUnmaskingWindow, spec_.deadline);
  // A hostile site spoils the sum of its group, so f of them as many groups: the median stands 2f < n.
  const auto groups_min = std::max(kGroupsMin, static_cast<size_t>(2 * spec_.rule.hostile + 1));
  const absl::StatusOr<std::vector<MaskedRound::LeftOut>> out =
      masked_->FixSurvivors(delivered, now + window, groups_min);
  if (!out.ok()) {
    Apply(round_->OnFailure(out.status().message(), now), now, step);
    return;
  }
  for (const MaskedRound::LeftOut& one : *out) {
    round_->LeaveOut(one.site, one.reason);
    AuditFacts facts = Facts("round.drop");
    facts.round = round_->record().number;
    facts.site = one.site;
    facts.reason = one.reason;
    step.audit.push_back(std::move(facts));
  }
  round_->SetMasking(masked_->record());
  AuditFacts facts = Facts("round.unmask");
  facts.round = round_->record().number;
  facts.count = static_cast<int64_t>(delivered.size() - out->size());
  facts.digest = HexEncode(masked_->SessionIdOf(delivered.front()));
  step.audit.push_back(std::move(facts));
  step.rounds.push_back(round_->record());
  leases_from_ = now;
  FinishUnmasking(now, step);  // a lost update that came back: the sites have revealed before
}

// Goes on as soon as what was revealed opens the sum.
void StudyRun::FinishUnmasking(absl::Time now, Step& step) {
  if (round_->phase() != RoundPhase::kUnmasking || !masked_->CanUnmask()) return;
  std::vector<std::string> wrong;
  const absl::Status opened = masked_->Unmask(&wrong).status();
  for (const std::string& site : wrong) {
    AuditFacts facts = Facts("masking.wrong_share");
    facts.round = round_->record().number;
    facts.site = site;
    facts.outcome = "failed";
    facts.reason = "a share that the site gave does not fit what was committed to";
    step.audit.push_back(std::move(facts));
  }
  if (!opened.ok()) return;  // until more sites reveal, or the time is over
  Apply(round_->OnUnmasked(), now, step);
}

absl::Status StudyRun::OnConsent(absl::string_view site, absl::string_view task_id,
                                 const secagg::Consent& consent, Step& step) {
  if (!masked_ || task_id != TaskId(TaskKind::kConsent, round_->record().number, site)) {
    return absl::FailedPreconditionError("the round has moved on; ask for the next task");
  }
  if (consent.site != site) return absl::InvalidArgumentError("consent: it is of another site");
  CSL_ASSIGN_OR_RETURN(std::optional<AgreementRecord> record, masked_->OnConsent(consent));
  if (!record) return absl::OkStatus();
  step.agreements.push_back(*std::move(record));
  step.audit.push_back(MaskingFacts("masking.consent", site));
  round_->SetMasking(masked_->record());
  step.rounds.push_back(round_->record());
  return absl::OkStatus();
}

absl::Status StudyRun::OnReveal(absl::string_view site, absl::string_view task_id,
                                const secagg::RevealMessage& message, absl::Time now, Step& step) {
  if (!masked_ || task_id != TaskId(TaskKind::kReveal, round_->record().number, site)) {
    return absl::FailedPreconditionError("the round has moved on; ask for the next task");
  }
  CSL_ASSIGN_OR_RETURN(std::optional<AgreementRecord> record, masked_->OnReveal(site, message));
  if (!record) return absl::OkStatus();
  step.agreements.push_back(*std::move(record));
  step.audit.push_back(MaskingFacts("masking.reveal", site));
  round_->SetMasking(masked_->record());
  step.rounds.push_back(round_->record());
  FinishUnmasking(now, step);
  return absl::OkStatus();
}

void StudyRun::OnUnmaskingDeclined(absl::string_view site, absl::string_view reason,
                                   absl::Time now, Step& step) {
  masked_->OnRefused(site);
  if (masked_->CanStillUnmask()) return;
  Apply(round_->OnFailure(absl::StrCat("too few sites are left that open the masked sum; ", site,
                                       " declined: ", reason),
                          now),
        now, step);
}

bool StudyRun::AwaitsUnmasking(absl::string_view site, absl::string_view task_id) const {
  if (!masked_ || round_->phase() != RoundPhase::kUnmasking) return false;
  const int64_t number = round_->record().number;
  switch (masked_->WantedOf(site)) {
    case MaskedRound::Wanted::kConsent:
      return task_id == TaskId(TaskKind::kConsent, number, site);
    case MaskedRound::Wanted::kReveal:
      return task_id == TaskId(TaskKind::kReveal, number, site);
    case MaskedRound::Wanted::kNothing:
      return false;
  }
  return false;
}

std::optional<SiteTask> StudyRun::UnmaskingTaskFor(absl::string_view site, absl::Time now) const {
  if (!masked_ || round_->phase() != RoundPhase::kUnmasking) return std::nullopt;
  const MaskedRound::Wanted wanted = masked_->WantedOf(site);
  if (wanted == MaskedRound::Wanted::kNothing) return std::nullopt;
  const RoundRecord& round = round_->record();
  const TaskKind kind =
      wanted == MaskedRound::Wanted::kConsent ? TaskKind::kConsent : TaskKind::kReveal;
  SiteTask task = MakeTask(kind, site);
  task.task_id = TaskId(kind, round.number, site);
  task.round = round.number;
  task.since_us = round.started_us;
  task.model_version = record_.latest_version;
  task.model_sha256 = record_.latest_sha256;
  task.model_bytes = record_.latest_bytes;
  task.deadline = absl::FromUnixMicros(masked_->record().phase_ends_us) - now;
  UnmaskingTask unmasking;
  unmasking.train_task_id = round_->Find(site)->task_id;
  unmasking.survivors = masked_->SurvivorsFor(site);
  if (kind == TaskKind::kReveal) unmasking.consents = masked_->ConsentsFor(site);
  task.unmasking = std::move(unmasking);
  return task;
}

// What the sites said is needed no longer.
void StudyRun::EndMasking(Step& step) {
  if (!masked_) return;
  for (const std::string& site : masked_->Speakers()) {
    AgreementRecord ended;
    ended.study = record_.name;
    ended.round = round_->record().number;
    ended.site = site;
    step.ended_agreements.push_back(std::move(ended));
  }
  masked_.reset();
}

}  // namespace consilium::coordinator
