#include "coordinator/round/site_registry.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/round/capabilities.h"
#include "privacy/crypto/protocol_key.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "proto/base/bytes.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kTokenCharsMax = 256;
constexpr size_t kVersionBytesMax = 64;
constexpr size_t kVoidedMax = 1000;  // invitations; a batch has room for more
constexpr size_t kCapabilitiesMax = 32;
constexpr int64_t kSkewMsMax = int64_t{1} << 45;  // a thousand years
constexpr absl::Duration kClockSkew = absl::Minutes(5);

AuditFacts SiteFacts(absl::string_view action, absl::string_view site, absl::string_view admin) {
  AuditFacts facts;
  facts.actor = std::string(admin);
  facts.role = "admin";
  facts.action = std::string(action);
  facts.site = std::string(site);
  return facts;
}

bool MayMove(SiteState from, SiteState to) {
  switch (to) {
    case SiteState::kApproved:
      return from == SiteState::kPending || from == SiteState::kSuspended;
    case SiteState::kSuspended:
      return from == SiteState::kApproved;
    case SiteState::kRevoked:
      return from != SiteState::kRevoked;
    default:
      return false;
  }
}

// None of them is accepted again; the record keeps the name of the one it was known by.
void RetireKeys(SiteRecord& record) {
  for (const std::string* key : {&record.key_sha256, &record.next_key_sha256}) {
    if (!key->empty()) record.retired_keys.push_back(*key);
  }
  record.next_key_sha256.clear();
  record.previous_key_sha256.clear();
  record.enrolment_key_sha256.clear();
  record.next_ends_us = record.previous_until_us = 0;
}

std::string CleanVersion(absl::string_view version) {
  std::string clean;
  for (const char c : version.substr(0, kVersionBytesMax)) {
    if (absl::ascii_isgraph(static_cast<unsigned char>(c))) clean.push_back(c);
  }
  return clean;
}

std::vector<std::string> CleanCapabilities(const std::vector<std::string>& names) {
  std::vector<std::string> clean;
  for (const std::string& name : names) {
    if (clean.size() < kCapabilitiesMax) clean.push_back(CleanVersion(name));
  }
  std::sort(clean.begin(), clean.end());
  clean.erase(std::unique(clean.begin(), clean.end()), clean.end());
  return clean;
}

std::string Described(const std::string& version, const std::vector<std::string>& capabilities) {
  if (capabilities.empty()) return version;
  return absl::StrCat(version, " (", absl::StrJoin(capabilities, ", "), ")");
}

bool IsGood(const SiteRecord& record, absl::string_view key, absl::Time now) {
  if (key.empty()) return false;
  return key == record.key_sha256 || key == record.next_key_sha256 ||
         (key == record.previous_key_sha256 &&
          absl::ToUnixMicros(now) < record.previous_until_us);
}

absl::Status NotEnrolled() {
  return absl::PermissionDeniedError(
      "this key is not enrolled under its name; enrol with a new invitation");
}

}  // namespace

absl::StatusOr<std::unique_ptr<SiteRegistry>> SiteRegistry::Create(Options options, Store& store,
                                                                   const Clock& clock) {
  auto registry =
      std::unique_ptr<SiteRegistry>(new SiteRegistry(std::move(options), store, clock));
  CSL_ASSIGN_OR_RETURN(const std::vector<SiteRecord> sites, store.Sites());
  CSL_ASSIGN_OR_RETURN(const std::vector<AdminRecord> admins, store.Admins());
  absl::MutexLock lock(&registry->mutex_);
  for (const SiteRecord& site : sites) registry->sites_.emplace(site.name, site);
  for (const AdminRecord& admin : admins) registry->admins_.emplace(admin.name, admin);
  return registry;
}

absl::Status SiteRegistry::EnrolFirstAdmin(absl::string_view certificate_pem) {
  absl::MutexLock turn(&turn_);
  {
    absl::MutexLock lock(&mutex_);
    if (!admins_.empty()) return absl::OkStatus();
  }
  CSL_ASSIGN_OR_RETURN(const privacy::Identity identity,
                       privacy::CertificateIdentity(certificate_pem));
  if (identity.role != privacy::Role::kAdmin || identity.federation != options_.federation) {
    return absl::InvalidArgumentError("the first administrator's certificate is not one");
  }
  AdminRecord record;
  record.name = identity.name;
  record.enrolled_us = absl::ToUnixMicros(clock_.Now());
  CSL_ASSIGN_OR_RETURN(record.key_sha256, privacy::SpkiSha256Hex(certificate_pem));
  Batch batch;
  batch.Put(record);
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "admin.enrol";
  facts.after = record.name;
  facts.personal = {"after"};
  facts.digest = record.key_sha256;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  absl::MutexLock lock(&mutex_);
  admins_.emplace(record.name, record);
  return absl::OkStatus();
}

absl::Status SiteRegistry::Authorise(const privacy::Identity& identity,
                                     absl::string_view key_sha256, privacy::Role role) const {
  if (identity.federation != options_.federation) {
    return absl::PermissionDeniedError("the certificate is of another federation");
  }
  if (identity.role != role) {
    return absl::PermissionDeniedError(
        absl::StrCat("this call is for role ", privacy::RoleName(role), ", the certificate has ",
                     privacy::RoleName(identity.role)));
  }
  absl::MutexLock lock(&mutex_);
  if (role == privacy::Role::kAdmin) {
    const auto it = admins_.find(identity.name);
    return it != admins_.end() && it->second.key_sha256 == key_sha256 ? absl::OkStatus()
                                                                      : NotEnrolled();
  }
  const auto it = sites_.find(identity.name);
  if (it == sites_.end() || !IsGood(it->second, key_sha256, clock_.Now())) return NotEnrolled();
  if (it->second.state != SiteState::kApproved) {
    return absl::PermissionDeniedError(
        absl::StrCat("site ", identity.name, " is ", Name(it->second.state),
                     "; an administrator has to approve it"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SiteRecord> SiteRegistry::Record(absl::string_view site) const {
  absl::MutexLock lock(&mutex_);
  const auto it = sites_.find(site);
  if (it == sites_.end()) return absl::NotFoundError(absl::StrCat("no site ", site));
  return it->second;
}

absl::Status SiteRegistry::Commit(const SiteRecord& record, Batch& batch) {
  batch.Put(record);
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  absl::MutexLock lock(&mutex_);
  sites_.insert_or_assign(record.name, record);
  return absl::OkStatus();
}

absl::StatusOr<SiteRegistry::Invitation> SiteRegistry::Invite(absl::string_view site,
                                                              absl::Duration valid,
                                                              absl::string_view admin) {
  CSL_RETURN_IF_ERROR(CheckName("site name", site));
  if (valid == absl::ZeroDuration()) valid = kInvitationDefault;
  if (valid < absl::ZeroDuration() || valid > kInvitationMax) {
    return absl::InvalidArgumentError("an invitation is valid for at most 30 days");
  }
  absl::MutexLock turn(&turn_);
  SiteRecord record;
  record.name = std::string(site);
  absl::StatusOr<SiteRecord> known = Record(site);
  if (known.ok()) {
    record = *std::move(known);
    if (record.state == SiteState::kSuspended || record.state == SiteState::kRevoked) {
      return absl::FailedPreconditionError(
          absl::StrCat("site ", site, " is ", Name(record.state), "; invite it under another name",
                       record.state == SiteState::kSuspended ? " or approve it" : ""));
    }
  } else if (List().size() >= kSitesMax) {
    return absl::ResourceExhaustedError("no more sites fit into this federation");
  }
  Invitation invitation = {HexEncode(privacy::RandomBytes(kTokenBytes)), clock_.Now() + valid};
  InvitationRecord stored;
  stored.token_sha256 = privacy::Sha256Hex(invitation.token);
  stored.site = record.name;
  stored.expires_us = absl::ToUnixMicros(invitation.expires);
  Batch batch;
  batch.Put(stored);
  batch.Audit(SiteFacts("site.invite", site, admin));
  CSL_RETURN_IF_ERROR(Commit(record, batch));
  return invitation;
}

absl::Status SiteRegistry::VoidInvitations(absl::string_view site, absl::string_view except,
                                           Batch& batch) {
  CSL_ASSIGN_OR_RETURN(const std::vector<InvitationRecord> invitations, store_.Invitations());
  const int64_t now_us = absl::ToUnixMicros(clock_.Now());
  size_t voided = 0;
  for (InvitationRecord invitation : invitations) {
    if (invitation.site != site || invitation.token_sha256 == except || invitation.used_us != 0 ||
        invitation.expires_us <= now_us) {
      continue;
    }
    if (++voided > kVoidedMax) {
      return absl::ResourceExhaustedError("too many open invitations of this name");
    }
    invitation.used_us = now_us;
    batch.Put(invitation);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SiteRegistry::Issue(absl::string_view site, absl::string_view csr_pem,
                                                const privacy::KeyAndCertificate& ca) const {
  return privacy::IssueCertificate(
      ca, csr_pem,
      {.identity = {options_.federation, privacy::Role::kSite, std::string(site)},
       .dns_names = {},
       .ip_addresses = {},
       .not_before = clock_.Now() - kClockSkew,
       .lifetime = options_.site_certificate_lifetime + kClockSkew});
}

absl::StatusOr<SiteRegistry::Enrolment> SiteRegistry::Enrol(absl::string_view token,
                                                            absl::string_view csr_pem,
                                                            absl::string_view software_version,
                                                            const privacy::KeyAndCertificate& ca) {
  const auto refused = [] {
    return absl::PermissionDeniedError(
        "the invitation is unknown, used or expired; ask for a new one");
  };
  if (token.empty() || token.size() > kTokenCharsMax) return refused();
  absl::MutexLock turn(&turn_);
  absl::StatusOr<InvitationRecord> invitation = store_.Invitation(privacy::Sha256Hex(token));
  if (absl::IsNotFound(invitation.status())) return refused();
  CSL_RETURN_IF_ERROR(invitation.status());
  const absl::Time now = clock_.Now();
  if (invitation->used_us != 0 || absl::ToUnixMicros(now) >= invitation->expires_us) {
    return refused();
  }
  CSL_ASSIGN_OR_RETURN(SiteRecord record, Record(invitation->site));
  if (record.state == SiteState::kSuspended || record.state == SiteState::kRevoked) return refused();

  CSL_ASSIGN_OR_RETURN(std::string certificate, Issue(record.name, csr_pem, ca));
  CSL_ASSIGN_OR_RETURN(const std::string key, privacy::SpkiSha256Hex(certificate));
  const auto& retired = record.retired_keys;
  if (std::find(retired.begin(), retired.end(), key) != retired.end()) {
    return absl::PermissionDeniedError("this key was retired; make a new one");
  }
  AuditFacts facts = SiteFacts("site.enrol", record.name, record.name);
  facts.role = "site";
  facts.before = std::string(Name(record.state));
  Batch batch;
  const bool replaced = !record.key_sha256.empty() && record.key_sha256 != key;
  if (record.key_sha256 != key) {
    if (record.next_key_sha256 == key) record.next_key_sha256.clear();
    RetireKeys(record);
    CSL_RETURN_IF_ERROR(VoidInvitations(record.name, invitation->token_sha256, batch));
  }
  // The same key again is a renewal and keeps its approval.
  if (record.key_sha256 != key || record.state == SiteState::kInvited) {
    record.state = SiteState::kPending;
  }
  record.key_sha256 = key;
  CSL_ASSIGN_OR_RETURN(const absl::Time ends, privacy::CertificateNotAfter(certificate));
  record.certificate_ends_us = absl::ToUnixMicros(ends);
  record.enrolled_us = absl::ToUnixMicros(now);
  record.software_version = CleanVersion(software_version);
  invitation->used_us = absl::ToUnixMicros(now);
  facts.after = std::string(Name(record.state));
  facts.digest = key;
  batch.Put(*invitation);
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(Commit(record, batch));
  return Enrolment{std::move(certificate), record.name, replaced};
}

absl::StatusOr<SiteStatus> SiteRegistry::SetState(absl::string_view site, SiteState state,
                                                  absl::string_view reason,
                                                  absl::string_view admin) {
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(SiteRecord record, Record(site));
  if (!MayMove(record.state, state)) {
    return absl::FailedPreconditionError(
        absl::StrCat("site ", site, " is ", Name(record.state), "; it cannot become ", Name(state)));
  }
  const absl::string_view verb = state == SiteState::kApproved    ? "site.approve"
                                 : state == SiteState::kSuspended ? "site.suspend"
                                                                  : "site.revoke";
  AuditFacts facts = SiteFacts(verb, site, admin);
  facts.before = std::string(Name(record.state));
  facts.after = std::string(Name(state));
  facts.reason = std::string(reason);
  facts.digest = record.key_sha256;
  record.state = state;
  if (state == SiteState::kRevoked) RetireKeys(record);
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(Commit(record, batch));
  absl::MutexLock lock(&mutex_);
  return StatusOf(record);
}

absl::StatusOr<std::string> SiteRegistry::Renew(absl::string_view site,
                                                absl::string_view caller_key,
                                                absl::string_view csr_pem,
                                                const privacy::KeyAndCertificate& ca) {
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(SiteRecord record, Record(site));
  if (record.state != SiteState::kApproved || caller_key != record.key_sha256) {
    return absl::PermissionDeniedError(
        "only an approved site renews its certificate, with the key that it uses");
  }
  const absl::Duration now = clock_.Monotonic();
  const auto last = renewed_.find(site);
  if (last != renewed_.end() && now - last->second < kRenewalEvery) {
    return absl::ResourceExhaustedError("a certificate was renewed just now; try again in a minute");
  }
  CSL_ASSIGN_OR_RETURN(const std::string certificate, Issue(site, csr_pem, ca));
  CSL_ASSIGN_OR_RETURN(const std::string key, privacy::SpkiSha256Hex(certificate));
  CSL_ASSIGN_OR_RETURN(const absl::Time ends, privacy::CertificateNotAfter(certificate));
  const auto& retired = record.retired_keys;
  if (std::find(retired.begin(), retired.end(), key) != retired.end()) {
    return absl::PermissionDeniedError("this key was retired; make a new one");
  }
  AuditFacts facts = SiteFacts("site.renew", site, site);
  facts.role = "site";
  facts.before = record.key_sha256;
  facts.after = facts.digest = key;
  if (key == record.key_sha256) {
    record.certificate_ends_us = absl::ToUnixMicros(ends);
  } else {
    record.next_key_sha256 = key;
    record.next_ends_us = absl::ToUnixMicros(ends);
  }
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(Commit(record, batch));
  renewed_.insert_or_assign(std::string(site), now);
  return certificate;
}

absl::Status SiteRegistry::CheckProtocolKey(absl::string_view ca_pem,
                                            const secagg::KeyAnnouncement& keys,
                                            absl::string_view signature) const {
  CSL_ASSIGN_OR_RETURN(const std::string key, privacy::SpkiSha256Hex(keys.certificate_pem));
  CSL_ASSIGN_OR_RETURN(const SiteStatus site, Get(keys.site));
  const SiteRecord& record = site.record;
  if (key != record.key_sha256 && key != record.next_key_sha256 &&
      key != record.previous_key_sha256) {
    return absl::PermissionDeniedError("keys: the certificate is not one that the site is enrolled with");
  }
  return privacy::VerifyProtocolKey(keys.certificate_pem, ca_pem, clock_.Now(),
                                    {.federation = options_.federation,
                                     .site = keys.site,
                                     .public_key = keys.identity_key,
                                     .signature = signature});
}

absl::Status SiteRegistry::KeyUsed(absl::string_view site, absl::string_view key_sha256) {
  const auto is_new = [&](const SiteRecord& record) {
    return !key_sha256.empty() && record.next_key_sha256 == key_sha256;
  };
  {
    absl::MutexLock lock(&mutex_);
    const auto it = sites_.find(site);
    if (it == sites_.end() || !is_new(it->second)) return absl::OkStatus();
  }
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(SiteRecord record, Record(site));
  if (!is_new(record)) return absl::OkStatus();
  AuditFacts facts = SiteFacts("site.rekey", site, site);
  facts.role = "site";
  facts.before = record.key_sha256;
  facts.after = facts.digest = record.next_key_sha256;
  if (record.enrolment_key_sha256.empty()) record.enrolment_key_sha256 = record.key_sha256;
  record.retired_keys.push_back(record.key_sha256);
  record.previous_key_sha256 = std::exchange(record.key_sha256, record.next_key_sha256);
  record.previous_until_us = absl::ToUnixMicros(clock_.Now() + kOldKeyOverlap);
  record.certificate_ends_us = std::exchange(record.next_ends_us, 0);
  record.next_key_sha256.clear();
  Batch batch;
  batch.Audit(std::move(facts));
  return Commit(record, batch);
}

absl::StatusOr<std::string> SiteRegistry::EnrolmentKey(absl::string_view site) const {
  CSL_ASSIGN_OR_RETURN(const SiteRecord record, Record(site));
  return record.enrolment_key_sha256.empty() ? record.key_sha256 : record.enrolment_key_sha256;
}

SiteStatus SiteRegistry::StatusOf(const SiteRecord& record) const {
  SiteStatus status;
  status.record = record;
  status.last_seen = absl::FromUnixMicros(record.last_seen_us);
  if (const auto skew = skew_.find(record.name); skew != skew_.end()) {
    status.clock_skew = skew->second;
  }
  if (const auto two = processes_.find(record.name);
      two != processes_.end() && two->second.refused != -absl::InfiniteDuration()) {
    status.second_process = clock_.Now() - (clock_.Monotonic() - two->second.refused);
  }
  const auto it = seen_.find(record.name);
  if (it != seen_.end()) {
    const absl::Duration ago = clock_.Monotonic() - it->second;
    status.last_seen = clock_.Now() - ago;
    status.connected = record.state == SiteState::kApproved && ago < kConnectedFor;
  }
  return status;
}

absl::StatusOr<SiteStatus> SiteRegistry::Get(absl::string_view site) const {
  absl::MutexLock lock(&mutex_);
  const auto it = sites_.find(site);
  if (it == sites_.end()) return absl::NotFoundError(absl::StrCat("no site ", site));
  return StatusOf(it->second);
}

std::vector<SiteStatus> SiteRegistry::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<SiteStatus> list;
  for (const auto& [name, record] : sites_) list.push_back(StatusOf(record));
  return list;
}

std::vector<SiteView> SiteRegistry::Views() const {
  std::vector<SiteView> views;
  for (const SiteStatus& status : List()) {
    views.push_back({status.record.name, status.record.state == SiteState::kApproved,
                     status.connected, Name(status.record.state),
                     CapabilitiesOf(status.record.capabilities), absl::InfinitePast()});
  }
  return views;
}

void SiteRegistry::Seen(absl::string_view site) {
  absl::MutexLock lock(&mutex_);
  seen_.insert_or_assign(std::string(site), clock_.Monotonic());
}

absl::Status SiteRegistry::SetSoftware(absl::string_view site, const Software& software) {
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(SiteRecord record, Record(site));
  const std::string clean = CleanVersion(software.version);
  const std::vector<std::string> capabilities = CleanCapabilities(software.capabilities);
  if (record.software_version == clean && record.capabilities == capabilities) {
    return absl::OkStatus();
  }
  const absl::Duration now = clock_.Monotonic();
  const auto set = version_set_.find(site);
  if (set != version_set_.end() && now - set->second < kVersionEvery) return absl::OkStatus();
  AuditFacts facts = SiteFacts("site.software", site, site);
  facts.role = "site";
  facts.before = Described(record.software_version, record.capabilities);
  facts.after = Described(clean, capabilities);
  record.software_version = clean;
  record.capabilities = capabilities;
  record.last_seen_us = absl::ToUnixMicros(clock_.Now());
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(Commit(record, batch));
  version_set_.insert_or_assign(std::string(site), now);
  return absl::OkStatus();
}

absl::Status SiteRegistry::NoteClock(absl::string_view site, int64_t unix_ms) {
  if (unix_ms <= 0) return absl::OkStatus();
  const int64_t ours = absl::ToUnixMillis(clock_.Now());
  const absl::Duration skew =
      absl::Milliseconds(std::clamp<int64_t>(unix_ms - ours, -kSkewMsMax, kSkewMsMax));
  {
    absl::MutexLock lock(&mutex_);
    if (!sites_.contains(site)) return absl::OkStatus();
    skew_.insert_or_assign(std::string(site), skew);
    if (absl::AbsDuration(skew) <= kClockSkewMax) {
      if (const auto it = skewed_.find(site); it != skewed_.end()) skewed_.erase(it);
      return absl::OkStatus();
    }
    if (!skewed_.insert(std::string(site)).second) return absl::OkStatus();
  }
  const int64_t seconds = absl::ToInt64Seconds(skew);
  const std::string reason = absl::StrCat("the site's clock is ", std::abs(seconds), " s ",
                                          seconds < 0 ? "behind" : "ahead of", " ours");
  privacy::Log(privacy::LogLevel::kWarning, "clock skew; set the clock there or here by NTP",
               {{privacy::LogField::Key::kSite, site},
                {privacy::LogField::Key::kReason, reason}});
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "clock.skew";
  facts.site = std::string(site);
  facts.reason = reason;
  facts.count = seconds;
  Batch batch;
  batch.Audit(std::move(facts));
  return store_.Commit(batch, clock_.Now()).status();
}

}  // namespace consilium::coordinator
