// The server's side of one secure aggregation: collects keys, passes shares on, fixes the
// survivors, and takes the masks off their sum.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_SESSION_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_SESSION_H_

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/server_collecting.h"
#include "privacy/secagg/server_consenting.h"
#include "privacy/secagg/server_delivering.h"
#include "privacy/secagg/server_record.h"
#include "privacy/secagg/server_revealing.h"
#include "privacy/secagg/server_sharing.h"
#include "privacy/secagg/unmask.h"

namespace consilium::secagg {

// One round of the server, whose sites may be hostile. A plain value: no clock, no I/O, cheap to
// copy.
//
// Order: Start, OnKeys*, CloseKeys, OnShares*, CloseSharing, FixSurvivors, OnConsent* (until
// HasConsents), OnReveal* (until CanUnmask), Unmask; each phase has a class of its own
// (server_collecting.h, ...).
//
// Errors, of every call: FAILED_PRECONDITION: not in this phase, or too few sites to go on;
// NOT_FOUND: not a site that may send this; ALREADY_EXISTS: it has sent something else before (the
// same again is OK, also when the phase is over); INVALID_ARGUMENT, PERMISSION_DENIED: the message.
// A call that fails changes nothing. Thread-compatible.
class ServerSession {
 public:
  // INVALID_ARGUMENT: the job; fewer sites than kSitesMin or min_cohort, more than kSitesMax, a
  // name that is empty, too long or there twice.
  static absl::StatusOr<ServerSession> Start(Job job, std::vector<std::string> invited);

  absl::Status OnKeys(const KeyAnnouncement& announcement, PeerVerifier verify);
  // Those who announced are the roster. FAILED_PRECONDITION: fewer than kSitesMin or min_cohort.
  absl::Status CloseKeys();

  absl::Status OnShares(absl::string_view site, const ShareMessage& message);
  // FAILED_PRECONDITION: fewer shared than the threshold or min_cohort.
  absl::Status CloseSharing();
  // What `site` gets from the others who shared, after CloseSharing.
  absl::StatusOr<std::vector<PeerShare>> SharesFor(absl::string_view site) const;

  // Whether a masked update of `site` may still come in. FAILED_PRECONDITION: survivors are fixed,
  // so that it comes too late for ever. NOT_FOUND: it did not share.
  absl::Status CheckDelivery(absl::string_view site) const;
  // `delivered`: the sites whose masked updates are complete. FAILED_PRECONDITION: fewer than the
  // threshold or min_cohort. NOT_FOUND: one did not share.
  absl::Status FixSurvivors(absl::Span<const std::string> delivered);

  absl::Status OnConsent(const Consent& consent);
  bool HasConsents() const;  // a threshold of them
  std::vector<Consent> Consents() const;

  // FAILED_PRECONDITION: not before HasConsents.
  absl::Status OnReveal(absl::string_view site, const RevealMessage& message);
  bool CanUnmask() const;  // a threshold of them
  // Rebuilds what opens the sum and checks each secret against the site's public key or commitment.
  // Where one does not fit, other shares are tried, and `wrong` (if not null) gets the shares that
  // do not lie with the rest. FAILED_PRECONDITION: before CanUnmask. DATA_LOSS: no threshold of the
  // shares of a site fits, or it was not found among many: the site is named; more reveals may
  // help.
  absl::StatusOr<Unmasker> Unmask(std::vector<WrongShare>* wrong) const;

  ServerPhase phase() const { return static_cast<ServerPhase>(state_.index()); }
  // From kSharing on; empty before.
  absl::Span<const Member> roster() const;
  std::vector<KeyAnnouncement> Announcements() const;  // what OnRoster wants, from kSharing on
  Params params() const;                               // threshold 0 before kSharing
  absl::string_view session_id() const;                // from kSharing on; empty before
  SiteSet sharing() const;                             // from kDelivering on; empty before
  SiteSet survivors() const;                           // from kConsenting on; empty before

  ServerRecord record() const;
  // Checks the record as if its messages came in again, but for the certificates.
  // DATA_LOSS: a record that no session gives.
  static absl::StatusOr<ServerSession> FromRecord(const ServerRecord& record);

 private:
  using State = std::variant<ServerCollecting, ServerSharing, ServerDelivering, ServerConsenting,
                             ServerRevealing>;
  explicit ServerSession(State state) : state_(std::move(state)) {}
  const ServerRoster* Roster() const;        // null while keys are collected
  const SharesBySite* ClosedShares() const;  // null before CloseSharing

  State state_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_SESSION_H_
