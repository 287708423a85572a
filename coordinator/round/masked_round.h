// The secure aggregation of one round as a value: who agreed on keys with whom, whose updates are
// summed, and what the sites gave to open that sum (privacy/secagg). Pure, like Round, beside which
// StudyRun keeps it; what it hears is persisted as AgreementRecords and in the round's MaskingRecord.
//
//   kKeys -> kShares -> kMasked -> kConsent -> kReveal
//
// With PlanProtection::group there are several rosters of about that many sites, whose sums are opened
// apart; a roster that loses too many sites is left out, and the round goes on while kGroupsMin are
// left. Which site is in which group follows from the study's run and the round, so that nobody
// chooses its neighbours.
//
// Keys and shares each have a time window. When it ends, or when nobody is awaited any more, those who
// answered go on without the others; a window with too few answers stays open as long as somebody may
// still answer.
//
// Thread-compatible. A call that returns an error has changed nothing. Errors: those of
// secagg::ServerSession.
#ifndef CONSILIUM_COORDINATOR_ROUND_MASKED_ROUND_H_
#define CONSILIUM_COORDINATOR_ROUND_MASKED_ROUND_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/store/records.h"
#include "privacy/secagg/quantise.h"
#include "privacy/secagg/server_session.h"
#include "privacy/secagg/unmask.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {

inline constexpr size_t kGroupsMin = 3;  // of a median of group sums

// A site's keys, with what ties them to its certificate.
struct SiteKeys {
  secagg::KeyAnnouncement announcement;
  std::string protocol_key_signature;
};

// What an update of a masked round carries in lanes beside its values, in this order.
const std::vector<std::string>& MaskedMetrics();

// A group's sum and what opens it. Thread-safe.
struct MaskedSum {
  std::vector<std::string> sites;  // survivors, ascending
  std::string session_id;
  secagg::Unmasker unmasker;
  secagg::Quantiser quantiser;
};

class MaskedRound {
 public:
  struct Options {
    std::string study;
    int64_t round = 0;
    std::string job;
    std::string base_sha256;  // lower-case hex
    std::string group_seed;   // public; new for each study
    wire::PlanProtection protection;
    double clip = 0;          // at most protection.clip
    int64_t parameters = 0;   // of the update
    int64_t weight_unit_milli = 1;
    int64_t weight_total = 1;  // most units that all sites have together
    std::vector<std::string> sites;  // ascending
    absl::Time now;
    absl::Duration window;
  };
  // FAILED_PRECONDITION: too few sites. INVALID_ARGUMENT: otherwise no session.
  static absl::StatusOr<MaskedRound> Open(const Options& options);
  // DATA_LOSS: the records do not fit together.
  static absl::StatusOr<MaskedRound> FromRecords(const RoundRecord& round,
                                                 const std::vector<AgreementRecord>& agreements);

  const MaskingRecord& record() const { return record_; }
  // Of the sites that said something, for DeleteAgreement.
  std::vector<std::string> Speakers() const;

  using Verifier = std::function<absl::Status(const SiteKeys& keys)>;
  // What has to be persisted of the site; none: it has said the same before.
  absl::StatusOr<std::optional<AgreementRecord>> OnKeys(const SiteKeys& keys,
                                                        const Verifier& verify);
  absl::StatusOr<std::optional<AgreementRecord>> OnShares(absl::string_view site,
                                                          const secagg::ShareMessage& message);
  absl::StatusOr<std::optional<AgreementRecord>> OnConsent(const secagg::Consent& consent);
  absl::StatusOr<std::optional<AgreementRecord>> OnReveal(absl::string_view site,
                                                          const secagg::RevealMessage& message);

  // Whether the site has said just this before.
  bool Knows(const secagg::KeyAnnouncement& keys, const secagg::ShareMessage* shares) const;
  // The site does not consent, or does not reveal; it is not asked again by this process.
  void OnRefused(absl::string_view site) { refused_.emplace(site); }
  // Whether enough survivors are left that did not refuse.
  bool CanStillUnmask() const;

  struct LeftOut {
    std::string site;
    std::string reason;
  };
  // Ends windows. `awaited`: the sites that may still deliver, ascending. Returns those of them that
  // cannot be part of a sum any more. `changed` becomes true when record() did.
  std::vector<LeftOut> OnTime(const std::vector<std::string>& awaited, absl::Time now,
                              bool& changed);
  // Whether the updates that are needed at least are known, and how many: 0 before the keys are
  // closed.
  int64_t SitesNeeded() const;

  // Whether the site's update may come in. FAILED_PRECONDITION: not now, or not any more.
  absl::Status CheckDelivery(absl::string_view site) const;
  // Fixes whose updates are summed. `delivered` ascending. Returns those of them that are left out
  // because their group lost too many. Idempotent for the same sites. FAILED_PRECONDITION: too few,
  // or others than at first.
  // `groups_min`: of several groups so many have to be left.
  absl::StatusOr<std::vector<LeftOut>> FixSurvivors(const std::vector<std::string>& delivered,
                                                    absl::Time unmask_by,
                                                    size_t groups_min = kGroupsMin);
  bool survivors_fixed() const;
  // Moves the end of the present phase: by the time a study was paused, or to at least `least`.
  void Extend(absl::Duration by) { record_.phase_ends_us += absl::ToInt64Microseconds(by); }
  void LeaveTime(absl::Time least) {
    record_.phase_ends_us = std::max(record_.phase_ends_us, absl::ToUnixMicros(least));
  }
  // The unmasking has taken too long.
  bool IsLate(absl::Time now) const;

  // What a site should do for the unmasking now.
  enum class Wanted { kNothing, kConsent, kReveal };
  Wanted WantedOf(absl::string_view site) const;
  std::vector<secagg::Consent> ConsentsFor(absl::string_view site) const;
  std::string SurvivorsFor(absl::string_view site) const;  // SiteSet bytes

  // How far the site's key agreement is.
  enum class Stage { kKeys, kShares, kReady, kOut };
  struct Agreement {
    Stage stage = Stage::kKeys;
    uint32_t threshold = 0;
    std::vector<SiteKeys> roster;           // kShares
    std::vector<secagg::PeerShare> shares;  // kReady: the boxes for the site
    std::string reason;                     // kOut
  };
  Agreement AgreementFor(absl::string_view site) const;

  // Enough sites revealed their shares in each group.
  bool CanUnmask() const;
  // In the order of the groups. `wrong`, if not null: sites that gave shares which do not fit.
  // FAILED_PRECONDITION, DATA_LOSS: as ServerSession::Unmask.
  absl::StatusOr<std::vector<MaskedSum>> Unmask(std::vector<std::string>* wrong) const;
  // Of the group that the site is in; empty before the keys are closed.
  std::vector<std::string> RosterOf(absl::string_view site) const;
  std::string SessionIdOf(absl::string_view site) const;
  void SetSums(std::map<std::string, double> sums) { record_.sums = std::move(sums); }

 private:
  struct Group {
    secagg::ServerSession session;
    bool failed() const { return !why.empty(); }
    std::string why;
  };
  const Group* Find(absl::string_view site) const;
  Group* Find(absl::string_view site);
  absl::StatusOr<std::optional<AgreementRecord>> Hear(
      absl::string_view site, const std::function<absl::Status(secagg::ServerSession&)>& tell);
  AgreementRecord RecordOf(absl::string_view site) const;
  void EndKeys(Group& group, const std::vector<std::string>& awaited, bool late,
               std::vector<LeftOut>& out, bool& changed);
  void EndShares(Group& group, const std::vector<std::string>& awaited, bool late,
                 std::vector<LeftOut>& out, bool& changed);
  void FailGroup(Group& group, std::string why, const std::vector<std::string>& sites,
                 std::vector<LeftOut>& out);
  void Refresh();

  std::string study_;
  int64_t round_ = 0;
  MaskingRecord record_;
  std::vector<Group> groups_;
  std::set<std::string, std::less<>> refused_;        // not durable
  std::map<std::string, std::string> key_signatures_;  // of the protocol keys, by site
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_MASKED_ROUND_H_
