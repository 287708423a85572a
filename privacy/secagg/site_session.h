// A site's side of one secure aggregation, from its keys to the shares it reveals.
#ifndef CONSILIUM_PRIVACY_SECAGG_SITE_SESSION_H_
#define CONSILIUM_PRIVACY_SECAGG_SITE_SESSION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secagg/consent_ledger.h"
#include "privacy/secagg/mask.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/site_announced.h"
#include "privacy/secagg/site_consenting.h"
#include "privacy/secagg/site_masking.h"
#include "privacy/secagg/site_secrets.h"
#include "privacy/secagg/site_sharing.h"

namespace consilium::secagg {

// One round of one site, whose coordinator and peers may be hostile. Holds keys of this round only;
// the enrolled identity key is lent to the calls that sign.
//
// Order: Start, OnRoster, OnShares, MaskerFor, OnSurvivors, OnConsents; each is a state with a
// class of its own (site_announced.h, ...). A call out of order is FAILED_PRECONDITION. A call
// repeated with the same input answers the same again, with another input FAILED_PRECONDITION. A
// call that fails leaves the session as it was, and nothing secret has left: the caller may give
// the round up (just destroy the session) or wait for a better message.
//
// Durability: write Serialize() down before what a call returned is sent, and for MaskerFor before
// the first masked byte is sent. A session that is restored goes on where it was.
//
// Errors: INVALID_ARGUMENT: a message that no honest party sends, or a reason of the site to refuse
// it; PERMISSION_DENIED: a signature, a box, or the verifier's word. Messages name sites and
// counts.
//
// Move-only. Thread-compatible. Privacy: no error, log line or const accessor holds a secret, but
// Serialize() does: keep it where keys are kept, and remove it once the round is over.
class SiteSession {
 public:
  using Options = SiteAnnounced::Options;

  // Fresh keys, announced under `identity`. INVALID_ARGUMENT: the job, the site's name, fingerprint
  // or certificate; a job whose min_cohort is below the site's floor, or whose model is not the one
  // loaded.
  static absl::StatusOr<SiteSession> Start(Options options, const privacy::Ed25519Key& identity);
  // This site's keys, until the roster is known; then empty.
  KeyAnnouncement announcement() const;

  // Who takes part, under which parameters. Checks every announcement, asks `verify` about every
  // peer's certificate, and refuses parameters that differ from the plan's job.
  absl::StatusOr<ShareMessage> OnRoster(const Params& params,
                                        absl::Span<const KeyAnnouncement> announcements,
                                        PeerVerifier verify);
  // The boxes for this site of all other sites that shared, in any order.
  absl::Status OnShares(absl::Span<const PeerShare> shares);

  // The masks for the one payload of this session: `payload_digest` (32 bytes) is the digest of all
  // that determines it - update, weight, metrics, noise seed. FAILED_PRECONDITION: masks were given
  // for another payload, also before a restart, or survivors are fixed already.
  absl::StatusOr<Masker> MaskerFor(absl::string_view payload_digest);

  // Agrees to a survivor set (SiteSet bytes) and signs it, after `ledger` has recorded it.
  // INVALID_ARGUMENT: without this site, with one that did not share, or too few.
  // FAILED_PRECONDITION: no payload was masked; or the ledger knows another consent.
  absl::StatusOr<Consent> OnSurvivors(absl::string_view survivors,
                                      const privacy::Ed25519Key& identity, ConsentLedger& ledger);
  // This site's shares, once a threshold of survivors has consented to the set it consented to
  // itself. Which sites dropped out is derived here, never received.
  absl::StatusOr<RevealMessage> OnConsents(absl::Span<const Consent> consents);

  enum class Phase { kAnnounced, kSharing, kMasking, kConsenting, kRevealed };
  Phase phase() const { return static_cast<Phase>(state_.index()); }
  // 32 public bytes from kSharing to kConsenting; empty in other phases.
  absl::string_view session_id() const;
  // Secret bytes for stochastic rounding, until survivors are fixed; then empty.
  absl::string_view rounding_seed() const;
  // Number of sites of the roster, from kSharing to kConsenting; 0 in other phases.
  size_t sites() const;

  privacy::SecretBytes Serialize() const;
  // DATA_LOSS: not what Serialize() gives, or of another version.
  static absl::StatusOr<SiteSession> Restore(absl::string_view serialized);

 private:
  using State = std::variant<SiteAnnounced, SiteSharing, SiteMasking, SiteConsenting, SiteRevealed>;
  explicit SiteSession(State state) : state_(std::move(state)) {}
  const SiteRound* round() const;  // null in the first phase and the last

  State state_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SITE_SESSION_H_
