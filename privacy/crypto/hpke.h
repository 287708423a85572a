// Hybrid public key encryption, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM,
// base mode. An update is sealed to the aggregation key of its round's coordinator with it.
//
// The functions are thread-safe. The sender is not authenticated by this mode: it is by TLS.
#ifndef CONSILIUM_PRIVACY_CRYPTO_HPKE_H_
#define CONSILIUM_PRIVACY_CRYPTO_HPKE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

inline constexpr size_t kHpkeKeyBytes = 32;  // public key, and `enc`
inline constexpr size_t kHpkeTagBytes = 16;  // ciphertext is this much longer than plaintext
inline constexpr uint64_t kHpkeMessagesMax = uint64_t{1} << 32;  // of one sender

struct HpkeKeyPair {
  SecretBytes private_key;
  std::string public_key;
};

HpkeKeyPair GenerateHpkeKeyPair();
// INVALID_ARGUMENT: not 32 bytes.
absl::StatusOr<HpkeKeyPair> HpkeKeyPairFromPrivate(absl::string_view private_key);

// Seals messages in sequence. Thread-compatible. RESOURCE_EXHAUSTED after kHpkeMessagesMax.
class HpkeSender {
 public:
  // INVALID_ARGUMENT: a public key that is not a valid point of the group, or gives an all-zero
  // shared secret.
  static absl::StatusOr<HpkeSender> Create(absl::string_view recipient_public_key,
                                           absl::string_view info);
  HpkeSender(HpkeSender&&) noexcept;
  HpkeSender& operator=(HpkeSender&&) noexcept;
  ~HpkeSender();
  const std::string& enc() const;
  absl::StatusOr<std::string> Seal(absl::string_view aad, absl::string_view plaintext);
  // The same where the text lies: the last kHpkeTagBytes bytes of `message` are room for the tag.
  absl::Status SealInPlace(absl::string_view aad, absl::Span<char> message);

 private:
  struct Rep;
  explicit HpkeSender(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

// Opens them. Thread-compatible.
class HpkeRecipient {
 public:
  // INVALID_ARGUMENT: `enc` is not a valid point of the group, as for HpkeSender.
  static absl::StatusOr<HpkeRecipient> Create(const HpkeKeyPair& key, absl::string_view enc,
                                              absl::string_view info);
  HpkeRecipient(HpkeRecipient&&) noexcept;
  HpkeRecipient& operator=(HpkeRecipient&&) noexcept;
  ~HpkeRecipient();
  // In the same sequence; after one failure every further Open fails (FAILED_PRECONDITION).
  // PERMISSION_DENIED: the ciphertext or the aad is not what was sealed.
  absl::StatusOr<std::string> Open(absl::string_view aad, absl::string_view ciphertext);
  // The message sealed as number `number`, from 0, in any order and in place: its plaintext takes the
  // first size() - kHpkeTagBytes bytes of `message`. Thread-safe. PERMISSION_DENIED: as Open.
  absl::Status OpenNumber(uint64_t number, absl::string_view aad, absl::Span<char> message) const;

 private:
  struct Rep;
  explicit HpkeRecipient(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_HPKE_H_
