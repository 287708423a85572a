// A site that has announced its keys of a round and does not know the roster yet.
#ifndef CONSILIUM_PRIVACY_SECAGG_SITE_ANNOUNCED_H_
#define CONSILIUM_PRIVACY_SECAGG_SITE_ANNOUNCED_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/crypto/random.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/site_secrets.h"
#include "privacy/secagg/site_sharing.h"

namespace consilium::secagg {

// Next: SiteSharing. Immutable: OnRoster gives the next state and leaves this one.
class SiteAnnounced {
 public:
  struct Options {
    std::string site;
    std::string certificate_pem;
    std::string certificate_fingerprint;
    Job job;                            // from the plan whose signature was checked
    std::string loaded_model_digest;    // of the weights that this site really loaded
    uint32_t cohort_floor = kSitesMin;  // the site's own policy; kSitesMin counts where it is less
    // Asked for sk_mask, sk_enc, b and the rounding seed in this order, 32 bytes each, and in
    // OnRoster for the coefficients of b's polynomials and of sk_mask's.
    RandomSource random = privacy::RandomSecret;
  };
  // Errors: SiteSession::Start.
  static absl::StatusOr<SiteAnnounced> Create(Options options, const privacy::Ed25519Key& identity);

  const KeyAnnouncement& announcement() const { return announcement_; }
  const SiteSecrets& secrets() const { return *secrets_; }

  // INVALID_ARGUMENT: parameters that differ from the job, a roster or threshold against the rules,
  // fewer sites than the floor, this site absent or with other keys, a peer whose box or mask key
  // is of low order. PERMISSION_DENIED: a signature. What `verify` says.
  absl::StatusOr<SiteSharing> OnRoster(const Params& params,
                                       absl::Span<const KeyAnnouncement> announcements,
                                       PeerVerifier verify) const;

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteAnnounced> Read(Reader& reader);

 private:
  SiteAnnounced() = default;

  Job job_;
  uint32_t cohort_floor_ = kSitesMin;
  KeyAnnouncement announcement_;
  std::shared_ptr<const SiteSecrets> secrets_;
  RandomSource random_ = privacy::RandomSecret;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SITE_ANNOUNCED_H_
