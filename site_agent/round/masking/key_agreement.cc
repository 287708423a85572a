#include "site_agent/round/masking/key_agreement.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/protocol_key.h"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"
#include "site_agent/round/site_round.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogLevel;
using Key = privacy::LogField::Key;
using Phase = secagg::SiteSession::Phase;

constexpr absl::Duration kLookEvery = absl::Milliseconds(200);  // whether the task is given up

std::string JobSha256(const secagg::Job& job) {
  return privacy::Sha256(secagg::Params{job, 0}.Encode());
}

// Fresh keys, under the certificate of the moment.
absl::StatusOr<StoredSession> Announce(const MaskingSite& site, const SiteTask& task,
                                       const secagg::Job& job) {
  CSL_ASSIGN_OR_RETURN(CertificateInForce certificate, site.certificate());
  CSL_ASSIGN_OR_RETURN(const std::string hex,
                       privacy::CertificateSha256Hex(certificate.certificate_pem));
  secagg::SiteSession::Options options;
  options.site = site.site;
  options.certificate_pem = certificate.certificate_pem;
  CSL_ASSIGN_OR_RETURN(options.certificate_fingerprint, HexDecode(hex));
  options.job = job;
  // The model that is trained from is taken only with this digest (FetchModel).
  options.loaded_model_digest = job.model_digest;
  options.cohort_floor = site.cohort_floor;
  auto session = secagg::SiteSession::Start(std::move(options), site.key);
  if (!session.ok()) return RefuseMasking(site, task, session.status());
  SiteKeys keys = {session->announcement(), std::move(certificate.protocol_key_signature)};
  StoredSession stored = {task.study, task.round, task.task_id, JobSha256(job),     std::move(keys),
                          {},         false,      {},           *std::move(session)};
  CSL_RETURN_IF_ERROR(site.sessions.Save(stored));
  return stored;
}

// The task's session of before a restart, or a new one.
absl::StatusOr<StoredSession> TakeUp(const MaskingSite& site, const SiteTask& task,
                                     const secagg::Job& job) {
  site.sessions.RemoveBefore(task.study, task.round);
  absl::StatusOr<StoredSession> stored = site.sessions.Load(task.study, task.round);
  if (!stored.ok() && !absl::IsNotFound(stored.status()) && !absl::IsDataLoss(stored.status())) {
    return stored.status();  // a fault of the disk may pass
  }
  // New keys make new masks: nothing is masked twice where an unreadable session is given up.
  const bool ours =
      stored.ok() && stored->train_task_id == task.task_id && stored->job_sha256 == JobSha256(job);
  if (!ours) {
    site.sessions.Remove(task.study, task.round);
    return Announce(site, task, job);
  }
  if (stored->masked || stored->session.phase() > Phase::kMasking) {
    return RefuseMasking(site, task,
                         absl::FailedPreconditionError(
                             "the masked update of this round is lost; no other may be masked"));
  }
  return stored;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeyAgreement>> KeyAgreement::Start(const MaskingSite& site,
                                                                  Federation& remote,
                                                                  const SiteTask& task,
                                                                  TaskMonitor& monitor, Pace pace) {
  absl::StatusOr<CheckedTerms> terms = CheckMaskingTerms(task, site.federation);
  if (!terms.ok()) return RefuseMasking(site, task, terms.status());
  CSL_ASSIGN_OR_RETURN(StoredSession stored, TakeUp(site, task, terms->job));
  return std::unique_ptr<KeyAgreement>(
      new KeyAgreement(site, remote, task, monitor, pace, *std::move(terms), std::move(stored)));
}

KeyAgreement::KeyAgreement(const MaskingSite& site, Federation& remote, SiteTask task,
                           TaskMonitor& monitor, Pace pace, CheckedTerms terms,
                           StoredSession stored)
    : site_(site),
      remote_(remote),
      task_(std::move(task)),
      monitor_(monitor),
      pace_(pace),
      terms_(std::move(terms)),
      stored_(std::move(stored)) {
  thread_.Schedule([this] { Run(); });
}

KeyAgreement::~KeyAgreement() {
  absl::MutexLock lock(&mutex_);
  closing_ = true;
  changed_.SignalAll();
}

bool KeyAgreement::Rest(absl::Duration pause) {
  const absl::Duration end = site_.clock.Monotonic() + pause;
  absl::MutexLock lock(&mutex_);
  while (!closing_) {
    const absl::Duration left = end - site_.clock.Monotonic();
    if (left <= absl::ZeroDuration()) return true;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return false;
}

void KeyAgreement::End() {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
  changed_.SignalAll();
}

void KeyAgreement::Run() {
  absl::Duration pause = pace_.first;
  bool goes_on = stored_.session.phase() != Phase::kMasking;
  while (goes_on) {
    const absl::StatusOr<Next> next = Step();
    if (!next.ok()) monitor_.GiveUp(next.status());
    if (!next.ok() || *next == Next::kNever) break;
    if (*next == Next::kNow) {
      pause = pace_.first;
      continue;
    }
    goes_on = Rest(pause) && !*monitor_.halt();
    pause = std::min(pause * 1.5, pace_.max);
  }
  End();
}

absl::StatusOr<KeyAgreement::Next> KeyAgreement::Step() {
  const absl::StatusOr<AgreementReply> reply =
      remote_.AgreeKeys(task_.task_id, stored_.keys, shares_ ? &*shares_ : nullptr);
  if (reply.ok()) {
    if (awaited_) monitor_.Advance();
    return OnReply(*reply);
  }
  CSL_RETURN_IF_ERROR(CallFailed(reply.status()));
  return Next::kLater;
}

// OK: the same again later.
absl::Status KeyAgreement::CallFailed(const absl::Status& failed) const {
  switch (ClassifyFailure(failed)) {
    case CallFailure::kRetry:
      return absl::OkStatus();
    case CallFailure::kGone:
      return absl::AbortedError("the coordinator has moved on from this round's key agreement");
    case CallFailure::kWrong:
      return WithDeclineReason(absl::FailedPreconditionError(absl::StrCat(
                                   "the key agreement cannot go on: ", failed.message())),
                               "secure aggregation: the key agreement cannot go on");
  }
  CSL_CHECK(false);
}

absl::StatusOr<KeyAgreement::Next> KeyAgreement::OnReply(const AgreementReply& reply) {
  switch (reply.stage) {
    case AgreementStage::kKeys:
      return Next::kLater;
    case AgreementStage::kShares:
      return OnRoster(reply);
    case AgreementStage::kReady:
      return OnBoxes(reply);
    case AgreementStage::kOut:
      site_.sessions.Remove(task_.study, task_.round);
      return WithDeclineReason(absl::FailedPreconditionError(
                                   absl::StrCat("not part of this round's sum: ", reply.reason)),
                               "secure aggregation: not part of this round's sum");
  }
  CSL_CHECK(false);
}

absl::Status KeyAgreement::Refuse(const absl::Status& why) {
  site_.sessions.Remove(task_.study, task_.round);
  return RefuseMasking(site_, task_, why);
}

absl::Status KeyAgreement::VerifyPeer(const secagg::KeyAnnouncement& peer,
                                      const AgreementReply& reply,
                                      const std::string& ca_pem) const {
  const auto keys = std::find_if(reply.roster.begin(), reply.roster.end(),
                                 [&](const SiteKeys& k) { return k.announcement == peer; });
  CSL_CHECK(keys != reply.roster.end());
  CSL_ASSIGN_OR_RETURN(const std::string hex, privacy::CertificateSha256Hex(peer.certificate_pem));
  if (HexEncode(peer.certificate_fingerprint) != hex) {
    return absl::InvalidArgumentError(absl::StrCat(peer.site, " has another certificate"));
  }
  const absl::Status genuine = privacy::VerifyProtocolKey(
      peer.certificate_pem, ca_pem, site_.clock.Now(),
      {site_.federation, peer.site, peer.identity_key, keys->protocol_key_signature});
  CSL_RETURN_IF_ERROR(Annotate(genuine, absl::StrCat("peer ", peer.site)));
  return site_.accept_peer ? site_.accept_peer(peer) : absl::OkStatus();
}

absl::StatusOr<KeyAgreement::Next> KeyAgreement::OnRoster(const AgreementReply& reply) {
  if (shares_ && reply.roster == taken_roster_) return Next::kLater;
  if (const absl::Status group = CheckGroup(task_.plan.protection, reply.roster.size());
      !group.ok()) {
    return Refuse(group);
  }
  CSL_ASSIGN_OR_RETURN(const CertificateInForce own, site_.certificate());
  std::vector<secagg::KeyAnnouncement> announcements;
  for (const SiteKeys& keys : reply.roster) announcements.push_back(keys.announcement);
  absl::StatusOr<secagg::ShareMessage> message = stored_.session.OnRoster(
      {terms_.job, reply.threshold}, announcements,
      [&](const secagg::KeyAnnouncement& peer) { return VerifyPeer(peer, reply, own.ca_pem); });
  if (!message.ok()) return Refuse(message.status());
  stored_.roster.clear();
  for (const SiteKeys& keys : reply.roster) stored_.roster.push_back(keys.announcement.site);
  CSL_RETURN_IF_ERROR(site_.sessions.Save(stored_));
  taken_roster_ = reply.roster;
  shares_ = SiteShares{std::move(message->commitment), {}};
  for (size_t i = 0; i < message->boxes.size(); ++i) {
    if (stored_.roster[i] == site_.site) continue;
    shares_->boxes.push_back({stored_.roster[i], std::move(message->boxes[i])});
  }
  Log(LogLevel::kInfo, "secure aggregation: the roster is fixed",
      {{Key::kStudy, task_.study}, {Key::kRound, task_.round}, {Key::kCount, reply.roster.size()}});
  return Next::kNow;
}

absl::StatusOr<KeyAgreement::Next> KeyAgreement::OnBoxes(const AgreementReply& reply) {
  // The boxes decide whom to mask with; a list beside them that says otherwise is a lie to
  // somebody.
  std::vector<std::string> sharing = {site_.site};
  for (const secagg::PeerShare& box : reply.boxes) sharing.push_back(box.site);
  std::sort(sharing.begin(), sharing.end());
  if (sharing != reply.sharing) {
    return Refuse(absl::InvalidArgumentError("the boxes are not those of the sites that share"));
  }
  const absl::Status opened = stored_.session.OnShares(reply.boxes);
  if (!opened.ok()) return Refuse(opened);
  CSL_RETURN_IF_ERROR(site_.sessions.Save(stored_));
  Log(LogLevel::kInfo, "secure aggregation: the masks are agreed on",
      {{Key::kStudy, task_.study}, {Key::kRound, task_.round}, {Key::kCount, sharing.size()}});
  return Next::kNever;
}

absl::Status KeyAgreement::AwaitReady() {
  awaited_ = true;
  monitor_.Report(TaskPhase::kAgree, 0, 1);
  while (true) {
    CSL_RETURN_IF_ERROR(monitor_.Check());
    absl::MutexLock lock(&mutex_);
    if (ended_) break;
    changed_.WaitWithTimeout(&mutex_, kLookEvery);
  }
  CSL_RETURN_IF_ERROR(monitor_.Check());  // how it ended
  monitor_.Report(TaskPhase::kAgree, 1, 1);
  return absl::OkStatus();
}

StoredSession KeyAgreement::Take() {
  thread_.Wait();
  CSL_CHECK(stored_.session.phase() == Phase::kMasking);
  return std::move(stored_);
}

}  // namespace consilium::agent
