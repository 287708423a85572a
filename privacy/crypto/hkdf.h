// HKDF with SHA-256 (RFC 5869): keys from a shared secret. Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_CRYPTO_HKDF_H_
#define CONSILIUM_PRIVACY_CRYPTO_HKDF_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"

namespace consilium::privacy {

inline constexpr size_t kHkdfOutputBytesMax = 255 * kSha256Bytes;

// RFC 5869 section 2.2: 32 bytes. An empty salt counts as 32 zero bytes.
SecretBytes HkdfExtract(absl::string_view salt, absl::string_view input_key);

// RFC 5869 section 2.3. INVALID_ARGUMENT: more than kHkdfOutputBytesMax bytes are asked for, or
// the pseudorandom key is shorter than 32 bytes.
absl::StatusOr<SecretBytes> HkdfExpand(absl::string_view pseudorandom_key, absl::string_view info,
                                       size_t output_bytes);

// Both steps. INVALID_ARGUMENT: as HkdfExpand.
absl::StatusOr<SecretBytes> Hkdf(absl::string_view salt, absl::string_view input_key,
                                 absl::string_view info, size_t output_bytes);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_HKDF_H_
