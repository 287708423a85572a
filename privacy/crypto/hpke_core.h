// The steps of RFC 9180 behind hpke.h: DHKEM(X25519, HKDF-SHA256) with HKDF-SHA256, any of the
// RFC's AEADs, modes base and psk. Internal to privacy/crypto: everyone else uses hpke.h, which
// fixes the suite. More general than hpke.h so that more of the RFC's test vectors apply.
#ifndef CONSILIUM_PRIVACY_CRYPTO_HPKE_CORE_H_
#define CONSILIUM_PRIVACY_CRYPTO_HPKE_CORE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

enum class HpkeAead : uint16_t {  // RFC 9180 table 5
  kAes128Gcm = 0x0001,
  kAes256Gcm = 0x0002,
  kChaCha20Poly1305 = 0x0003,
  kExportOnly = 0xffff,
};

// RFC 9180 section 7.1.3, DeriveKeyPair.
HpkeKeyPair DeriveHpkeKeyPair(absl::string_view input_key);

// RFC 9180 section 4.1, Encap with a given ephemeral key (whose public half is `enc`) and Decap.
// INVALID_ARGUMENT: a public key of the wrong length, or one that gives an all-zero secret.
absl::StatusOr<SecretBytes> HpkeEncap(absl::string_view recipient_public_key,
                                      const HpkeKeyPair& ephemeral);
absl::StatusOr<SecretBytes> HpkeDecap(absl::string_view enc, const HpkeKeyPair& recipient);

struct HpkePsk {  // both empty: mode base
  absl::string_view psk = {};
  absl::string_view psk_id = {};
};

struct HpkeKeys {
  SecretBytes key;
  SecretBytes base_nonce;
  SecretBytes exporter_secret;
};

// RFC 9180 section 5.1, KeySchedule. INVALID_ARGUMENT: a psk without its id, or shorter than 32
// bytes.
absl::StatusOr<HpkeKeys> HpkeKeySchedule(HpkeAead aead, absl::string_view shared_secret,
                                         absl::string_view info, HpkePsk psk);

// RFC 9180 section 5.3. INVALID_ARGUMENT: more than kHkdfOutputBytesMax bytes.
absl::StatusOr<SecretBytes> HpkeExport(HpkeAead aead, const HpkeKeys& keys,
                                       absl::string_view context, size_t output_bytes);

// RFC 9180 section 5.2: messages under one key, numbered. Thread-compatible.
class HpkeMessages {
 public:
  // INVALID_ARGUMENT: export-only keys.
  static absl::StatusOr<HpkeMessages> Create(HpkeAead aead, const HpkeKeys& keys,
                                             uint64_t messages_max);
  // RESOURCE_EXHAUSTED after `messages_max` messages.
  absl::StatusOr<std::string> Seal(absl::string_view aad, absl::string_view plaintext);
  // As Aead::SealInPlace. RESOURCE_EXHAUSTED: as Seal.
  absl::Status SealInPlace(absl::string_view aad, absl::Span<char> message);
  // PERMISSION_DENIED: not the next message. FAILED_PRECONDITION: an earlier Open failed.
  absl::StatusOr<std::string> Open(absl::string_view aad, absl::string_view ciphertext);
  // Message `number`, from 0, whatever was opened before; where Aead::OpenInPlace puts it.
  // Thread-safe. PERMISSION_DENIED: not that message. RESOURCE_EXHAUSTED: no such number.
  absl::Status OpenNumber(uint64_t number, absl::string_view aad, absl::Span<char> message) const;

 private:
  HpkeMessages(AeadAlgorithm algorithm, SecretBytes key, Aead aead, SecretBytes base_nonce,
               uint64_t messages_max)
      : algorithm_(algorithm),
        key_(std::move(key)),
        aead_(std::move(aead)),
        base_nonce_(std::move(base_nonce)),
        messages_max_(messages_max) {}
  absl::StatusOr<SecretBytes> Nonce(uint64_t number) const;

  AeadAlgorithm algorithm_;
  SecretBytes key_;
  Aead aead_;
  SecretBytes base_nonce_;
  uint64_t messages_max_;
  uint64_t sequence_ = 0;
  bool failed_ = false;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_HPKE_CORE_H_
