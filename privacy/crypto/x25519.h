// X25519 key agreement (RFC 7748). Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_CRYPTO_X25519_H_
#define CONSILIUM_PRIVACY_CRYPTO_X25519_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

inline constexpr size_t kX25519KeyBytes = 32;

// The public key of any 32 bytes. INVALID_ARGUMENT: another length.
absl::StatusOr<std::string> X25519PublicKey(absl::string_view private_key);

// INVALID_ARGUMENT: a key of another length, or a public key of low order, whose shared secret is
// all zeros (RFC 7748 section 6.1).
absl::StatusOr<SecretBytes> X25519(absl::string_view private_key, absl::string_view public_key);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_X25519_H_
