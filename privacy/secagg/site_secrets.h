// What the states of a site's session hand on to each other.
#ifndef CONSILIUM_PRIVACY_SECAGG_SITE_SECRETS_H_
#define CONSILIUM_PRIVACY_SECAGG_SITE_SECRETS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/key_schedule.h"
#include "privacy/secagg/protocol.h"

namespace consilium::secagg {

// Gives that many secret random bytes.
using RandomSource = std::function<privacy::SecretBytes(size_t bytes)>;

// One site's secrets of one round. Immutable once made; shared by the states, wiped with the last.
struct SiteSecrets {
  privacy::SecretBytes mask_key;       // sk_mask
  privacy::SecretBytes box_key;        // sk_enc
  privacy::SecretBytes self_seed;      // b
  privacy::SecretBytes rounding_seed;  // never shared, not even with the server after the round

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteSecrets> Read(Reader& reader);
};

// The session as this site sees it, once the roster is known. Public bytes only. Immutable.
struct SiteRound {
  Params params;
  std::vector<Member> roster;
  size_t self = 0;
  uint32_t cohort_floor = 0;
  std::string session_id;  // derived

  const std::string& site() const { return roster[self].site; }

  void Write(SecretWriter& writer) const;
  static absl::StatusOr<SiteRound> Read(Reader& reader);
};

// Parts that several states write. The Read functions leave it to reader.status() that bytes were
// there.
void WriteJob(SecretWriter& writer, const Job& job);
absl::StatusOr<Job> ReadJob(Reader& reader);
void WriteShares(SecretWriter& writer, const SharePair& shares);
SharePair ReadShares(Reader& reader);
SiteSet ReadSiteSet(Reader& reader, size_t sites);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SITE_SECRETS_H_
