// Authenticated encryption with a key of one's own: AES-GCM (NIST SP 800-38D) and
// ChaCha20-Poly1305 (RFC 8439). A nonce must never be used twice with one key; prefer hpke.h, which
// counts.
#ifndef CONSILIUM_PRIVACY_CRYPTO_AEAD_H_
#define CONSILIUM_PRIVACY_CRYPTO_AEAD_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium::privacy {

enum class AeadAlgorithm { kAes128Gcm, kAes256Gcm, kChaCha20Poly1305 };

inline constexpr size_t kAeadNonceBytes = 12;
inline constexpr size_t kAeadTagBytes = 16;
size_t AeadKeyBytes(AeadAlgorithm algorithm);

// One key, ready for use. Thread-compatible: even Seal() changes it.
class Aead {
 public:
  // INVALID_ARGUMENT: a key of the wrong length.
  static absl::StatusOr<Aead> Create(AeadAlgorithm algorithm, absl::string_view key);
  Aead(Aead&&) noexcept;
  Aead& operator=(Aead&&) noexcept;
  ~Aead();

  // Ciphertext followed by the tag. INVALID_ARGUMENT: a nonce that is not 12 bytes, or more than
  // the algorithm's 2^36 - 32 bytes of plaintext.
  absl::StatusOr<std::string> Seal(absl::string_view nonce, absl::string_view aad,
                                   absl::string_view plaintext);
  // The same where the text lies: the last kAeadTagBytes bytes of `message` are room for the tag.
  absl::Status SealInPlace(absl::string_view nonce, absl::string_view aad,
                           absl::Span<char> message);
  // PERMISSION_DENIED: not what was sealed with this key, nonce and aad; nothing of the plaintext
  // stays in memory. INVALID_ARGUMENT: as Seal.
  absl::StatusOr<std::string> Open(absl::string_view nonce, absl::string_view aad,
                                   absl::string_view ciphertext);
  // The same where the message lies: its plaintext takes the first size() - kAeadTagBytes bytes of
  // `message`; what follows, and after an error all of it, means nothing.
  absl::Status OpenInPlace(absl::string_view nonce, absl::string_view aad,
                           absl::Span<char> message);

 private:
  struct Rep;
  explicit Aead(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_AEAD_H_
