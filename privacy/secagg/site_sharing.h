// A site that knows the roster, has its shares ready, and waits for the others' shares.
#ifndef CONSILIUM_PRIVACY_SECAGG_SITE_SHARING_H_
#define CONSILIUM_PRIVACY_SECAGG_SITE_SHARING_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/site_masking.h"
#include "privacy/secagg/site_secrets.h"

namespace consilium::secagg {

// Next: SiteMasking. Immutable.
class SiteSharing {
 public:
  // Splits the secrets among the roster and seals the shares. INVALID_ARGUMENT: a peer's key of low
  // order.
  static absl::StatusOr<SiteSharing> Create(SiteRound round,
                                            std::shared_ptr<const SiteSecrets> secrets,
                                            const RandomSource& random);

  const SiteRound& round() const { return *round_; }
  const SiteSecrets& secrets() const { return *secrets_; }
  const ShareMessage& message() const { return message_; }

  // INVALID_ARGUMENT: a site that is not of the roster, twice, or this one; fewer sites than the
  // threshold, min_cohort or the floor. PERMISSION_DENIED: a box that is not from that site to this
  // one in this session, named by its site.
  absl::StatusOr<SiteMasking> OnShares(absl::Span<const PeerShare> shares) const;

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteSharing> Read(Reader& reader);

 private:
  SiteSharing() = default;

  std::shared_ptr<const SiteRound> round_;
  std::shared_ptr<const SiteSecrets> secrets_;
  ShareMessage message_;
  std::shared_ptr<const SharePair> own_;  // this site's shares of its own secrets
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SITE_SHARING_H_
