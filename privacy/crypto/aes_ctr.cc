#include "privacy/crypto/aes_ctr.h"

#include <openssl/evp.h>

#include <algorithm>

#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;
alignas(64) constexpr unsigned char kZeros[kPieceBytes] = {};

}  // namespace

AesCtr::AesCtr() : context_(EVP_CIPHER_CTX_new()) {
  CSL_CHECK(context_ != nullptr);
  // Looked up once: with the algorithm known, another key costs the key schedule only.
  CSL_CHECK(EVP_EncryptInit_ex(context_.get(), EVP_aes_256_ctr(), nullptr, nullptr, nullptr) == 1);
}

void AesCtr::Start(absl::string_view key, uint64_t byte_offset) {
  CSL_CHECK(key.size() == kAesCtrKeyBytes && byte_offset % kAesCtrBlockBytes == 0);
  unsigned char counter[kAesCtrBlockBytes] = {};  // big-endian
  uint64_t block = byte_offset / kAesCtrBlockBytes;
  for (size_t i = kAesCtrBlockBytes; block != 0; block >>= 8) {
    counter[--i] = static_cast<unsigned char>(block);
  }
  CSL_CHECK(EVP_EncryptInit_ex(context_.get(), nullptr, nullptr,
                               reinterpret_cast<const unsigned char*>(key.data()), counter) == 1);
}

void AesCtr::Read(absl::Span<char> out) {
  while (!out.empty()) {
    const size_t size = std::min(out.size(), kPieceBytes);
    int written = 0;
    CSL_CHECK(EVP_EncryptUpdate(context_.get(), reinterpret_cast<unsigned char*>(out.data()),
                                &written, kZeros, static_cast<int>(size)) == 1 &&
              static_cast<size_t>(written) == size);
    out.remove_prefix(size);
  }
}

}  // namespace consilium::privacy
