// A site that can mask its update, and waits to hear whose updates have arrived.
#ifndef CONSILIUM_PRIVACY_SECAGG_SITE_MASKING_H_
#define CONSILIUM_PRIVACY_SECAGG_SITE_MASKING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/consent_ledger.h"
#include "privacy/secagg/mask.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/site_consenting.h"
#include "privacy/secagg/site_secrets.h"

namespace consilium::secagg {

// By roster index; the shares of a site that did not share are empty.
using HeldShares = std::vector<SharePair>;

// Next: SiteConsenting. Copies share what they hold.
class SiteMasking {
 public:
  SiteMasking(std::shared_ptr<const SiteRound> round, std::shared_ptr<const SiteSecrets> secrets,
              SiteSet sharing, std::shared_ptr<const HeldShares> shares)
      : round_(std::move(round)),
        secrets_(std::move(secrets)),
        sharing_(std::move(sharing)),
        shares_(std::move(shares)) {}

  const SiteRound& round() const { return *round_; }
  const SiteSecrets& secrets() const { return *secrets_; }
  const SiteSet& sharing() const { return sharing_; }
  const std::string& payload_digest() const { return payload_digest_; }  // empty: none yet

  // Masks against every site that shared. Errors: SiteSession::MaskerFor.
  absl::StatusOr<Masker> MaskerFor(absl::string_view payload_digest);
  // Errors: SiteSession::OnSurvivors.
  absl::StatusOr<SiteConsenting> OnSurvivors(absl::string_view survivors,
                                             const privacy::Ed25519Key& identity,
                                             ConsentLedger& ledger) const;

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteMasking> Read(Reader& reader);

 private:
  std::shared_ptr<const SiteRound> round_;
  std::shared_ptr<const SiteSecrets> secrets_;
  SiteSet sharing_;
  std::shared_ptr<const HeldShares> shares_;
  std::string payload_digest_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SITE_MASKING_H_
