#include "privacy/crypto/hpke_core.h"

#include <algorithm>
#include <initializer_list>
#include <memory>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/x25519.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint16_t kKemX25519HkdfSha256 = 0x0020;
constexpr uint16_t kKdfHkdfSha256 = 0x0001;
constexpr size_t kPskBytesMin = 32;

// I2OSP(value, 2).
std::string BigEndian16(size_t value) {
  return std::string({static_cast<char>(value >> 8), static_cast<char>(value)});
}

SecretBytes Concat(std::initializer_list<absl::string_view> parts) {
  size_t size = 0;
  for (const absl::string_view part : parts) size += part.size();
  SecretBytes joined(size);
  char* out = joined.data();
  for (const absl::string_view part : parts) out = std::copy(part.begin(), part.end(), out);
  return joined;
}

std::string KemSuite() { return absl::StrCat("KEM", BigEndian16(kKemX25519HkdfSha256)); }

std::string HpkeSuite(HpkeAead aead) {
  return absl::StrCat("HPKE", BigEndian16(kKemX25519HkdfSha256), BigEndian16(kKdfHkdfSha256),
                      BigEndian16(static_cast<uint16_t>(aead)));
}

SecretBytes LabeledExtract(absl::string_view suite, absl::string_view salt, absl::string_view label,
                           absl::string_view input_key) {
  return HkdfExtract(salt, Concat({"HPKE-v1", suite, label, input_key}).view());
}

absl::StatusOr<SecretBytes> LabeledExpand(absl::string_view suite, const SecretBytes& key,
                                          absl::string_view label, absl::string_view info,
                                          size_t output_bytes) {
  return HkdfExpand(key.view(),
                    Concat({BigEndian16(output_bytes), "HPKE-v1", suite, label, info}).view(),
                    output_bytes);
}

// For lengths fixed in this file.
SecretBytes LabeledExpandFixed(absl::string_view suite, const SecretBytes& key,
                               absl::string_view label, absl::string_view info,
                               size_t output_bytes) {
  absl::StatusOr<SecretBytes> output = LabeledExpand(suite, key, label, info, output_bytes);
  CSL_CHECK(output.ok());
  return *std::move(output);
}

SecretBytes ExtractAndExpand(const SecretBytes& shared, absl::string_view enc,
                             absl::string_view recipient_public_key) {
  const std::string suite = KemSuite();
  return LabeledExpandFixed(suite, LabeledExtract(suite, "", "eae_prk", shared.view()),
                            "shared_secret", absl::StrCat(enc, recipient_public_key), kSha256Bytes);
}

absl::StatusOr<AeadAlgorithm> AlgorithmOf(HpkeAead aead) {
  switch (aead) {
    case HpkeAead::kAes128Gcm:
      return AeadAlgorithm::kAes128Gcm;
    case HpkeAead::kAes256Gcm:
      return AeadAlgorithm::kAes256Gcm;
    case HpkeAead::kChaCha20Poly1305:
      return AeadAlgorithm::kChaCha20Poly1305;
    case HpkeAead::kExportOnly:
      break;
  }
  return absl::InvalidArgumentError("HPKE: an export-only context has no messages");
}

}  // namespace

absl::StatusOr<HpkeKeyPair> HpkeKeyPairFromPrivate(absl::string_view private_key) {
  if (private_key.size() != kHpkeKeyBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("HPKE private key: ", kHpkeKeyBytes, " bytes, not ", private_key.size()));
  }
  CSL_ASSIGN_OR_RETURN(std::string public_key, X25519PublicKey(private_key));
  return HpkeKeyPair{SecretBytes(private_key), std::move(public_key)};
}

HpkeKeyPair DeriveHpkeKeyPair(absl::string_view input_key) {
  const std::string suite = KemSuite();
  const SecretBytes private_key = LabeledExpandFixed(
      suite, LabeledExtract(suite, "", "dkp_prk", input_key), "sk", "", kHpkeKeyBytes);
  absl::StatusOr<HpkeKeyPair> pair = HpkeKeyPairFromPrivate(private_key.view());
  CSL_CHECK(pair.ok());
  return *std::move(pair);
}

absl::StatusOr<SecretBytes> HpkeEncap(absl::string_view recipient_public_key,
                                      const HpkeKeyPair& ephemeral) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes shared,
                       X25519(ephemeral.private_key.view(), recipient_public_key));
  return ExtractAndExpand(shared, ephemeral.public_key, recipient_public_key);
}

absl::StatusOr<SecretBytes> HpkeDecap(absl::string_view enc, const HpkeKeyPair& recipient) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes shared, X25519(recipient.private_key.view(), enc));
  return ExtractAndExpand(shared, enc, recipient.public_key);
}

absl::StatusOr<HpkeKeys> HpkeKeySchedule(HpkeAead aead, absl::string_view shared_secret,
                                         absl::string_view info, HpkePsk psk) {
  if (psk.psk.empty() != psk.psk_id.empty()) {
    return absl::InvalidArgumentError("HPKE: a pre-shared key and its id go together");
  }
  if (!psk.psk.empty() && psk.psk.size() < kPskBytesMin) {
    return absl::InvalidArgumentError("HPKE: a pre-shared key has at least 32 bytes");
  }
  const std::string suite = HpkeSuite(aead);
  const char mode = psk.psk.empty() ? 0 : 1;
  const SecretBytes context = Concat({absl::string_view(&mode, 1),
                                      LabeledExtract(suite, "", "psk_id_hash", psk.psk_id).view(),
                                      LabeledExtract(suite, "", "info_hash", info).view()});
  const SecretBytes secret = LabeledExtract(suite, shared_secret, "secret", psk.psk);
  HpkeKeys keys;
  if (const absl::StatusOr<AeadAlgorithm> algorithm = AlgorithmOf(aead); algorithm.ok()) {
    keys.key = LabeledExpandFixed(suite, secret, "key", context.view(), AeadKeyBytes(*algorithm));
    keys.base_nonce =
        LabeledExpandFixed(suite, secret, "base_nonce", context.view(), kAeadNonceBytes);
  }
  keys.exporter_secret = LabeledExpandFixed(suite, secret, "exp", context.view(), kSha256Bytes);
  return keys;
}

absl::StatusOr<SecretBytes> HpkeExport(HpkeAead aead, const HpkeKeys& keys,
                                       absl::string_view context, size_t output_bytes) {
  return LabeledExpand(HpkeSuite(aead), keys.exporter_secret, "sec", context, output_bytes);
}

absl::StatusOr<HpkeMessages> HpkeMessages::Create(HpkeAead aead, const HpkeKeys& keys,
                                                  uint64_t messages_max) {
  CSL_ASSIGN_OR_RETURN(const AeadAlgorithm algorithm, AlgorithmOf(aead));
  CSL_ASSIGN_OR_RETURN(Aead cipher, Aead::Create(algorithm, keys.key.view()));
  CSL_CHECK(keys.base_nonce.size() == kAeadNonceBytes);
  return HpkeMessages(algorithm, keys.key.Clone(), std::move(cipher), keys.base_nonce.Clone(),
                      messages_max);
}

absl::StatusOr<SecretBytes> HpkeMessages::Nonce(uint64_t number) const {
  if (number >= messages_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("HPKE: ", messages_max_, " messages is the most for one context"));
  }
  SecretBytes nonce = base_nonce_.Clone();
  const std::string counter = BigEndian64(number);
  for (size_t i = 0; i < counter.size(); ++i) {
    nonce.data()[kAeadNonceBytes - counter.size() + i] ^= counter[i];
  }
  return nonce;
}

absl::StatusOr<std::string> HpkeMessages::Seal(absl::string_view aad, absl::string_view plaintext) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes nonce, Nonce(sequence_));
  CSL_ASSIGN_OR_RETURN(std::string ciphertext, aead_.Seal(nonce.view(), aad, plaintext));
  ++sequence_;
  return ciphertext;
}

absl::Status HpkeMessages::SealInPlace(absl::string_view aad, absl::Span<char> message) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes nonce, Nonce(sequence_));
  CSL_RETURN_IF_ERROR(aead_.SealInPlace(nonce.view(), aad, message));
  ++sequence_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> HpkeMessages::Open(absl::string_view aad,
                                               absl::string_view ciphertext) {
  if (failed_) {
    return absl::FailedPreconditionError("HPKE: an earlier message of this context did not open");
  }
  CSL_ASSIGN_OR_RETURN(const SecretBytes nonce, Nonce(sequence_));
  absl::StatusOr<std::string> plaintext = aead_.Open(nonce.view(), aad, ciphertext);
  if (plaintext.ok()) {
    ++sequence_;
  } else {
    failed_ = true;
  }
  return plaintext;
}

absl::Status HpkeMessages::OpenNumber(uint64_t number, absl::string_view aad,
                                      absl::Span<char> message) const {
  CSL_ASSIGN_OR_RETURN(const SecretBytes nonce, Nonce(number));
  CSL_ASSIGN_OR_RETURN(Aead cipher, Aead::Create(algorithm_, key_.view()));
  return cipher.OpenInPlace(nonce.view(), aad, message);
}

}  // namespace consilium::privacy
