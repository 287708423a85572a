// A site that has agreed to a survivor set, and what it is after it has revealed its shares.
#ifndef CONSILIUM_PRIVACY_SECAGG_SITE_CONSENTING_H_
#define CONSILIUM_PRIVACY_SECAGG_SITE_CONSENTING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/key_schedule.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/site_secrets.h"

namespace consilium::secagg {

// The last state. Holds nothing secret but shares that the server has anyway. Immutable.
class SiteRevealed {
 public:
  explicit SiteRevealed(RevealMessage message) : message_(std::move(message)) {}
  const RevealMessage& message() const { return message_; }

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteRevealed> Read(Reader& reader);

 private:
  RevealMessage message_;
};

// Next: SiteRevealed. The site's own secrets are gone, its shares of the others' are left.
// Immutable.
class SiteConsenting {
 public:
  SiteConsenting(std::shared_ptr<const SiteRound> round, SiteSet sharing, SiteSet survivors,
                 std::shared_ptr<const std::vector<SharePair>> shares, Consent consent)
      : round_(std::move(round)),
        sharing_(std::move(sharing)),
        survivors_(std::move(survivors)),
        shares_(std::move(shares)),
        consent_(std::move(consent)) {}

  const SiteRound& round() const { return *round_; }
  const Consent& consent() const { return consent_; }

  // INVALID_ARGUMENT: fewer consents than the threshold, a site twice, another survivor set than
  // this site's. PERMISSION_DENIED: a signature that is not the site's.
  absl::StatusOr<SiteRevealed> OnConsents(absl::Span<const Consent> consents) const;

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteConsenting> Read(Reader& reader);

 private:
  std::shared_ptr<const SiteRound> round_;
  SiteSet sharing_;
  SiteSet survivors_;
  std::shared_ptr<const std::vector<SharePair>> shares_;
  Consent consent_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SITE_CONSENTING_H_
