// Ed25519 signatures (RFC 8032, the pure form): the keys of the audit log and of its witnesses.
//
// Thread-safety: the functions and the const methods are thread-safe.
#ifndef CONSILIUM_PRIVACY_CRYPTO_ED25519_H_
#define CONSILIUM_PRIVACY_CRYPTO_ED25519_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

inline constexpr size_t kEd25519SeedBytes = 32;
inline constexpr size_t kEd25519PublicKeyBytes = 32;
inline constexpr size_t kEd25519SignatureBytes = 64;

// A private key. Move-only; after a move only assignment and destruction are left.
class Ed25519Key {
 public:
  static Ed25519Key Generate();
  // The 32 byte seed of RFC 8032 section 5.1.5. INVALID_ARGUMENT: another length.
  static absl::StatusOr<Ed25519Key> FromSeed(const SecretBytes& seed);
  // PKCS#8 PEM. INVALID_ARGUMENT: not one, or a key of another kind.
  static absl::StatusOr<Ed25519Key> FromPem(const SecretBytes& pem);

  SecretBytes ToPem() const;                                   // PKCS#8, not encrypted
  const std::string& public_key() const { return public_key_; }  // 32 bytes
  std::string Sign(absl::string_view message) const;           // 64 bytes

 private:
  Ed25519Key(PkeyPtr key, std::string public_key)
      : key_(std::move(key)), public_key_(std::move(public_key)) {}
  static absl::StatusOr<Ed25519Key> FromHandle(PkeyPtr key);
  PkeyPtr key_;
  std::string public_key_;
};

// INVALID_ARGUMENT: a key or signature of the wrong length. PERMISSION_DENIED: the signature is not
// by this key over this message.
absl::Status Ed25519Verify(absl::string_view public_key, absl::string_view message,
                           absl::string_view signature);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_ED25519_H_
