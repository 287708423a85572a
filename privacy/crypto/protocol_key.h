// Ties a site's Ed25519 protocol key to its certificate, whose own key is ECDSA P-256:
//
//   ECDSA-SHA256( LP("consilium/protocol-key/v1") LP(identity URI) LP(Ed25519 public key) )
//
// by the certificate's key, in DER (FIPS 186-4; RFC 3279 section 2.2.3). LP(x) is a big-endian
// 32-bit length and x. The identity stands in what is signed, so that a signature is good for one
// site of one federation. A renewed certificate has a new key, which signs the same protocol key
// anew.
//
// Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_CRYPTO_PROTOCOL_KEY_H_
#define CONSILIUM_PRIVACY_CRYPTO_PROTOCOL_KEY_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

inline constexpr size_t kProtocolKeySignatureBytesMax = 72;  // two 256-bit integers in DER

// INVALID_ARGUMENT: `key_pem` is not a P-256 key, `public_key` is not of 32 bytes.
absl::StatusOr<std::string> SignProtocolKey(const SecretBytes& key_pem, const Identity& identity,
                                            absl::string_view public_key);

// Who a certificate and a protocol key must belong to.
struct ProtocolKeyOwner {
  absl::string_view federation;
  absl::string_view site;
  absl::string_view public_key;  // Ed25519, 32 bytes
  absl::string_view signature;
};
// OK when `certificate_pem` chains to the pinned root `ca_pem`, is valid at `now`, is that site's,
// and its key signed that protocol key. INVALID_ARGUMENT: something does not parse, or a size.
// PERMISSION_DENIED: another issuer, site, role or signature. FAILED_PRECONDITION: expired or not
// yet valid. Says nothing about revocation.
absl::Status VerifyProtocolKey(absl::string_view certificate_pem, absl::string_view ca_pem,
                               absl::Time now, const ProtocolKeyOwner& owner);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_PROTOCOL_KEY_H_
