#include "privacy/crypto/hpke.h"

#include <utility>

#include "privacy/crypto/hpke_core.h"
#include "privacy/crypto/random.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

absl::StatusOr<HpkeMessages> MessagesFor(const SecretBytes& shared_secret, absl::string_view info) {
  CSL_ASSIGN_OR_RETURN(const HpkeKeys keys, HpkeKeySchedule(HpkeAead::kAes256Gcm,
                                                            shared_secret.view(), info, HpkePsk{}));
  return HpkeMessages::Create(HpkeAead::kAes256Gcm, keys, kHpkeMessagesMax);
}

}  // namespace

HpkeKeyPair GenerateHpkeKeyPair() {
  absl::StatusOr<HpkeKeyPair> pair = HpkeKeyPairFromPrivate(RandomSecret(kHpkeKeyBytes).view());
  CSL_CHECK(pair.ok());
  return *std::move(pair);
}

struct HpkeSender::Rep {
  std::string enc;
  HpkeMessages messages;
};

HpkeSender::HpkeSender(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
HpkeSender::HpkeSender(HpkeSender&&) noexcept = default;
HpkeSender& HpkeSender::operator=(HpkeSender&&) noexcept = default;
HpkeSender::~HpkeSender() = default;

absl::StatusOr<HpkeSender> HpkeSender::Create(absl::string_view recipient_public_key,
                                              absl::string_view info) {
  HpkeKeyPair ephemeral = GenerateHpkeKeyPair();
  CSL_ASSIGN_OR_RETURN(const SecretBytes shared_secret, HpkeEncap(recipient_public_key, ephemeral));
  CSL_ASSIGN_OR_RETURN(HpkeMessages messages, MessagesFor(shared_secret, info));
  return HpkeSender(std::unique_ptr<Rep>(
      new Rep{.enc = std::move(ephemeral.public_key), .messages = std::move(messages)}));
}

const std::string& HpkeSender::enc() const { return rep_->enc; }

absl::StatusOr<std::string> HpkeSender::Seal(absl::string_view aad, absl::string_view plaintext) {
  return rep_->messages.Seal(aad, plaintext);
}

absl::Status HpkeSender::SealInPlace(absl::string_view aad, absl::Span<char> message) {
  return rep_->messages.SealInPlace(aad, message);
}

struct HpkeRecipient::Rep {
  HpkeMessages messages;
};

HpkeRecipient::HpkeRecipient(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
HpkeRecipient::HpkeRecipient(HpkeRecipient&&) noexcept = default;
HpkeRecipient& HpkeRecipient::operator=(HpkeRecipient&&) noexcept = default;
HpkeRecipient::~HpkeRecipient() = default;

absl::StatusOr<HpkeRecipient> HpkeRecipient::Create(const HpkeKeyPair& key, absl::string_view enc,
                                                    absl::string_view info) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes shared_secret, HpkeDecap(enc, key));
  CSL_ASSIGN_OR_RETURN(HpkeMessages messages, MessagesFor(shared_secret, info));
  return HpkeRecipient(std::unique_ptr<Rep>(new Rep{.messages = std::move(messages)}));
}

absl::StatusOr<std::string> HpkeRecipient::Open(absl::string_view aad,
                                                absl::string_view ciphertext) {
  return rep_->messages.Open(aad, ciphertext);
}

absl::Status HpkeRecipient::OpenNumber(uint64_t number, absl::string_view aad,
                                       absl::Span<char> message) const {
  return rep_->messages.OpenNumber(number, aad, message);
}

}  // namespace consilium::privacy
