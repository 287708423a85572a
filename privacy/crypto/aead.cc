#include "privacy/crypto/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/openssl_handles.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint64_t kPlaintextBytesMax = (uint64_t{1} << 36) - 32;
constexpr size_t kPieceBytes = size_t{1} << 30;  // EVP counts in int

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

const EVP_CIPHER* Cipher(AeadAlgorithm algorithm) {
  switch (algorithm) {
    case AeadAlgorithm::kAes128Gcm:
      return EVP_aes_128_gcm();
    case AeadAlgorithm::kAes256Gcm:
      return EVP_aes_256_gcm();
    case AeadAlgorithm::kChaCha20Poly1305:
      return EVP_chacha20_poly1305();
  }
  return nullptr;
}

absl::Status CheckSizes(absl::string_view nonce, uint64_t text_bytes) {
  if (nonce.size() != kAeadNonceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("AEAD nonce: ", kAeadNonceBytes, " bytes, not ", nonce.size()));
  }
  if (text_bytes > kPlaintextBytesMax) {
    return absl::InvalidArgumentError("AEAD message: more than 2^36 - 32 bytes");
  }
  return absl::OkStatus();
}

// Feeds `in` to the cipher; `out` is null for associated data.
void Update(EVP_CIPHER_CTX* context, absl::string_view in, char* out) {
  while (!in.empty()) {
    const size_t size = std::min(in.size(), kPieceBytes);
    int written = 0;
    CSL_CHECK(EVP_CipherUpdate(context, reinterpret_cast<unsigned char*>(out), &written, Bytes(in),
                               static_cast<int>(size)) == 1);
    CSL_CHECK(static_cast<size_t>(written) == size);
    if (out != nullptr) out += size;
    in.remove_prefix(size);
  }
}

}  // namespace

size_t AeadKeyBytes(AeadAlgorithm algorithm) {
  return algorithm == AeadAlgorithm::kAes128Gcm ? 16 : 32;
}

struct Aead::Rep {
  CipherCtxPtr context;
};

Aead::Aead(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Aead::Aead(Aead&&) noexcept = default;
Aead& Aead::operator=(Aead&&) noexcept = default;
Aead::~Aead() = default;

absl::StatusOr<Aead> Aead::Create(AeadAlgorithm algorithm, absl::string_view key) {
  if (key.size() != AeadKeyBytes(algorithm)) {
    return absl::InvalidArgumentError(
        absl::StrCat("AEAD key: ", AeadKeyBytes(algorithm), " bytes, not ", key.size()));
  }
  auto rep = std::make_unique<Rep>();
  rep->context.reset(EVP_CIPHER_CTX_new());
  CSL_CHECK(rep->context != nullptr);
  CSL_CHECK(EVP_CipherInit_ex(rep->context.get(), Cipher(algorithm), nullptr, Bytes(key), nullptr,
                              1) == 1);
  CSL_CHECK(EVP_CIPHER_CTX_get_iv_length(rep->context.get()) == kAeadNonceBytes);
  return Aead(std::move(rep));
}

absl::StatusOr<std::string> Aead::Seal(absl::string_view nonce, absl::string_view aad,
                                       absl::string_view plaintext) {
  std::string message;
  message.reserve(plaintext.size() + kAeadTagBytes);
  message.append(plaintext.data(), plaintext.size());
  message.append(kAeadTagBytes, '\0');
  CSL_RETURN_IF_ERROR(SealInPlace(nonce, aad, absl::MakeSpan(message)));
  return message;
}

absl::Status Aead::SealInPlace(absl::string_view nonce, absl::string_view aad,
                               absl::Span<char> message) {
  CSL_CHECK(message.size() >= kAeadTagBytes);
  const absl::Span<char> body = message.subspan(0, message.size() - kAeadTagBytes);
  CSL_RETURN_IF_ERROR(CheckSizes(nonce, body.size()));
  EVP_CIPHER_CTX* context = rep_->context.get();
  CSL_CHECK(EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, Bytes(nonce), 1) == 1);
  Update(context, aad, nullptr);
  Update(context, {body.data(), body.size()}, body.data());
  unsigned char nothing[16];
  int written = 0;
  CSL_CHECK(EVP_CipherFinal_ex(context, nothing, &written) == 1 && written == 0);
  CSL_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes,
                                body.data() + body.size()) == 1);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Aead::Open(absl::string_view nonce, absl::string_view aad,
                                       absl::string_view ciphertext) {
  std::string message(ciphertext);
  CSL_RETURN_IF_ERROR(OpenInPlace(nonce, aad, absl::MakeSpan(message)));
  message.resize(message.size() - kAeadTagBytes);
  return message;
}

absl::Status Aead::OpenInPlace(absl::string_view nonce, absl::string_view aad,
                               absl::Span<char> message) {
  const absl::Status denied =
      absl::PermissionDeniedError("AEAD: the message is not what was sealed");
  if (message.size() < kAeadTagBytes) return denied;
  const absl::Span<char> body = message.subspan(0, message.size() - kAeadTagBytes);
  CSL_RETURN_IF_ERROR(CheckSizes(nonce, body.size()));
  const OpensslErrorScope errors;
  EVP_CIPHER_CTX* context = rep_->context.get();
  CSL_CHECK(EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, Bytes(nonce), 0) == 1);
  CSL_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes,
                                body.data() + body.size()) == 1);
  Update(context, aad, nullptr);
  Update(context, {body.data(), body.size()}, body.data());
  unsigned char nothing[16];
  int written = 0;
  if (EVP_CipherFinal_ex(context, nothing, &written) == 1) return absl::OkStatus();
  OPENSSL_cleanse(body.data(), body.size());
  return denied;
}

}  // namespace consilium::privacy
