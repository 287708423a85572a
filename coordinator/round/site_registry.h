// Who takes part: administrators and sites by the key in their certificate, and how sites join.
//
//   invited -> pending -> approved <-> suspended;  any but invited -> revoked, for good
//
// A name and a certificate of our CA are not enough: every call is checked against the key enrolled
// under that name and its state. Enrolling again with a new key (a lost machine) takes a new invitation
// and puts the site back to pending; the old key is never accepted again. A renewal changes the key of
// an approved site with the one it has: both are good until the new one was used and kOldKeyOverlap
// more, for calls that were on their way; so neither a lost reply nor a crash locks a site out.
//
// Thread-safe. `turn_` orders the changes and is held across their small synced write; readers only
// ever wait for `mutex_`, which is not held across I/O.
// Errors: PERMISSION_DENIED: not enrolled, not approved, token unknown, used or expired.
// Privacy: tokens are stored as digests and never logged.
#ifndef CONSILIUM_COORDINATOR_ROUND_SITE_REGISTRY_H_
#define CONSILIUM_COORDINATOR_ROUND_SITE_REGISTRY_H_

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/round/study_run.h"
#include "coordinator/store/store.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kConnectedFor = absl::Seconds(90);  // since the last call
inline constexpr absl::Duration kInvitationDefault = absl::Hours(24);
inline constexpr absl::Duration kInvitationMax = absl::Hours(24 * 30);
inline constexpr absl::Duration kVersionEvery = absl::Minutes(1);
inline constexpr absl::Duration kClockSkewMax = absl::Seconds(60);
inline constexpr absl::Duration kOldKeyOverlap = absl::Minutes(10);
inline constexpr absl::Duration kRenewalEvery = absl::Minutes(1);
inline constexpr size_t kSitesMax = 10'000;
inline constexpr size_t kIncarnationBytesMax = 64;
inline constexpr size_t kSupersededMax = 64;  // processes remembered of a site; the oldest goes first

struct SiteStatus {
  SiteRecord record;
  absl::Time last_seen;
  bool connected = false;
  absl::Duration clock_skew;  // its clock less ours, as last said; not durable
  // When a second process with the site's identity was last refused; InfinitePast: never. Not durable.
  absl::Time second_process = absl::InfinitePast();
};

class SiteRegistry {
 public:
  struct Options {
    std::string federation;
    absl::Duration site_certificate_lifetime = absl::Hours(24 * 90);
  };
  // `store` and `clock` must outlive it.
  static absl::StatusOr<std::unique_ptr<SiteRegistry>> Create(Options options, Store& store,
                                                              const Clock& clock);

  // Enrols the first administrator's certificate (made with the home) unless there is one.
  absl::Status EnrolFirstAdmin(absl::string_view certificate_pem);

  // On every call: is this identity, with this key, allowed in as `role` now?
  absl::Status Authorise(const privacy::Identity& identity, absl::string_view key_sha256,
                         privacy::Role role) const;

  // Returns the token; it is nowhere else. FAILED_PRECONDITION: suspended or revoked.
  struct Invitation {
    std::string token;
    absl::Time expires;
  };
  absl::StatusOr<Invitation> Invite(absl::string_view site, absl::Duration valid,
                                    absl::string_view admin);
  // Trades token and request for a certificate issued by `ca`. Uses the token up; a new key also
  // voids every other invitation of the name.
  struct Enrolment {
    std::string certificate_pem;
    std::string site;
    bool replaced_key = false;  // there was another one: its calls have to end
  };
  absl::StatusOr<Enrolment> Enrol(absl::string_view token, absl::string_view csr_pem,
                                  absl::string_view software_version,
                                  const privacy::KeyAndCertificate& ca);
  // A certificate by `ca` for the new key in `csr_pem`, for a site that called with `caller_key`. The key is
  // recorded with its entry in the audit log. PERMISSION_DENIED: not approved, a key that was retired, or
  // asked for with one that was replaced. RESOURCE_EXHAUSTED: at most one in kRenewalEvery.
  absl::StatusOr<std::string> Renew(absl::string_view site, absl::string_view caller_key,
                                    absl::string_view csr_pem, const privacy::KeyAndCertificate& ca);
  // Whether these are keys of the site for secure aggregation: its certificate, by `ca_pem` and for a key
  // that is enrolled now, signs the protocol key. Errors of privacy::VerifyProtocolKey.
  absl::Status CheckProtocolKey(absl::string_view ca_pem, const secagg::KeyAnnouncement& keys,
                                absl::string_view signature) const;
  // The site called with this key: the first call with a renewed one makes it the site's own.
  absl::Status KeyUsed(absl::string_view site, absl::string_view key_sha256);
  // The key that the site's last invitation was used with: renewals do not change it.
  absl::StatusOr<std::string> EnrolmentKey(absl::string_view site) const;
  // approved, suspended or revoked. FAILED_PRECONDITION: not from here.
  absl::StatusOr<SiteStatus> SetState(absl::string_view site, SiteState state,
                                      absl::string_view reason, absl::string_view admin);

  absl::StatusOr<SiteStatus> Get(absl::string_view site) const;
  std::vector<SiteStatus> List() const;
  std::vector<SiteView> Views() const;
  // The site is there now. Not durable.
  void Seen(absl::string_view site);
  // Which of the site's processes calls: `incarnation` is random and new at each start of an agent;
  // empty: an agent that does not say. The process that said Hello last is the site's; one that called
  // after it was superseded is a second one (a copied home), audited as `site.duplicate`, at most one
  // entry in kVersionEvery. After our own restart the first to call is the site's.
  // FAILED_PRECONDITION: another process is; the message says what to do. INVALID_ARGUMENT: too long.
  enum class ProcessCall { kHello, kOther };
  absl::Status AdmitProcess(absl::string_view site, absl::string_view incarnation,
                            ProcessCall call);
  // What a site's program said it is. Audits a change, at most one in kVersionEvery: two programs of
  // one site may take turns.
  struct Software {
    std::string version;
    std::vector<std::string> capabilities;
  };
  absl::Status SetSoftware(absl::string_view site, const Software& software);
  // What the site's clock showed just now; 0: it did not say. More than kClockSkewMax off is one audit
  // entry and one warning, and again only after it was right in between. Nothing but the report
  // depends on a site's clock.
  absl::Status NoteClock(absl::string_view site, int64_t unix_ms);

 private:
  SiteRegistry(Options options, Store& store, const Clock& clock)
      : options_(std::move(options)), store_(store), clock_(clock) {}
  SiteStatus StatusOf(const SiteRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<SiteRecord> Record(absl::string_view site) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::string> Issue(absl::string_view site, absl::string_view csr_pem,
                                    const privacy::KeyAndCertificate& ca) const;
  absl::Status VoidInvitations(absl::string_view site, absl::string_view except, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  absl::Status Commit(const SiteRecord& record, Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The processes that called with a site's identity.
  struct Processes {
    std::string current;
    std::deque<std::string> superseded;
    absl::Duration refused = -absl::InfiniteDuration();  // on the monotonic clock, as below
    absl::Duration audited = -absl::InfiniteDuration();
  };
  absl::Status RefuseProcess(absl::string_view site) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  Store& store_;
  const Clock& clock_;
  absl::Mutex turn_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  std::map<std::string, SiteRecord, std::less<>> sites_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, AdminRecord, std::less<>> admins_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Duration, std::less<>> seen_ ABSL_GUARDED_BY(mutex_);  // monotonic
  std::map<std::string, absl::Duration, std::less<>> version_set_ ABSL_GUARDED_BY(turn_);
  std::map<std::string, Processes, std::less<>> processes_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Duration, std::less<>> renewed_ ABSL_GUARDED_BY(turn_);
  std::map<std::string, absl::Duration, std::less<>> skew_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> skewed_ ABSL_GUARDED_BY(mutex_);  // in an audited incident
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_SITE_REGISTRY_H_
