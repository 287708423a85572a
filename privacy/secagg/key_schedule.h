// The keys of a secure aggregation, and the boxes that carry shares from site to site.
//
//   Kpair = HKDF-SHA256(salt=sid, ikm=X25519(sk_mask_i, pk_mask_j), info=LP("mask") LP(low)
//   LP(high)) Kself = HKDF-SHA256(salt=sid, ikm=b_i, info=LP("self") LP(i)) box   = AES-256-GCM,
//   key = HKDF-SHA256(salt=sid, ikm=X25519(sk_enc_i, pk_enc_j),
//           info=LP("share") LP(i) LP(j)), nonce of zeros (a key has one message),
//           aad = sid LP(i) LP(j), plaintext = u8(x) share_b share_sk
//
// A box key names its direction, so that a box cannot be reflected to its sender. Thread-safe.
#ifndef CONSILIUM_PRIVACY_SECAGG_KEY_SCHEDULE_H_
#define CONSILIUM_PRIVACY_SECAGG_KEY_SCHEDULE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secagg/protocol.h"

namespace consilium::secagg {

// INVALID_ARGUMENT: a public key that gives the all-zero secret (RFC 7748 section 6.1).
absl::StatusOr<privacy::SecretBytes> PairMaskKey(absl::string_view session_id,
                                                 absl::string_view mask_private_key,
                                                 absl::string_view own_site,
                                                 absl::string_view peer_mask_key,
                                                 absl::string_view peer_site);
privacy::SecretBytes SelfMaskKey(absl::string_view session_id, absl::string_view self_seed,
                                 absl::string_view site);
std::string Commitment(absl::string_view session_id, absl::string_view site,
                       absl::string_view self_seed);
// Signs of the rotation, the same for all sites (quantise.h). Public.
std::string RotationSeed(absl::string_view session_id);

// One holder's shares of one site's secrets.
struct SharePair {
  privacy::SecretBytes self_seed;  // of b
  privacy::SecretBytes mask_key;   // of sk_mask
};

// The two ends of a box. `index` counts in the roster.
struct BoxRoute {
  absl::string_view session_id;
  absl::string_view from;
  absl::string_view to;
  size_t to_index = 0;
};
// INVALID_ARGUMENT: as PairMaskKey.
absl::StatusOr<std::string> SealShares(const BoxRoute& route, absl::string_view box_private_key,
                                       absl::string_view peer_box_key, const SharePair& shares);
// PERMISSION_DENIED: not a box of this route, or for another x-coordinate than to_index + 1.
// INVALID_ARGUMENT: as PairMaskKey.
absl::StatusOr<SharePair> OpenShares(const BoxRoute& route, absl::string_view box_private_key,
                                     absl::string_view peer_box_key, absl::string_view box);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_KEY_SCHEDULE_H_
