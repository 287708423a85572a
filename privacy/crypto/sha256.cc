#include "privacy/crypto/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <climits>
#include <vector>

#include "privacy/crypto/openssl_handles.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr size_t kFilePieceBytes = size_t{1} << 20;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::string Sha256(absl::string_view data) {
  std::string digest(kSha256Bytes, '\0');
  CSL_CHECK(EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(digest.data()),
                       nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

std::string Sha256Hex(absl::string_view data) { return HexEncode(Sha256(data)); }

std::string HmacSha256(absl::string_view key, absl::string_view data) {
  CSL_CHECK(key.size() <= INT_MAX);
  std::string tag(kSha256Bytes, '\0');
  unsigned int size = 0;
  const unsigned char* result =
      HMAC(EVP_sha256(), key.empty() ? "" : key.data(), static_cast<int>(key.size()), Bytes(data),
           data.size(), reinterpret_cast<unsigned char*>(tag.data()), &size);
  CSL_CHECK(result != nullptr && size == kSha256Bytes);
  return tag;
}

void Sha256Join(std::initializer_list<absl::string_view> parts, uint8_t* out) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // for ever
  thread_local const DigestCtxPtr context(EVP_MD_CTX_new());
  CSL_CHECK(sha256 != nullptr && context != nullptr);
  CSL_CHECK(EVP_DigestInit_ex2(context.get(), sha256, nullptr) == 1);
  for (const absl::string_view part : parts) {
    CSL_CHECK(EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1);
  }
  CSL_CHECK(EVP_DigestFinal_ex(context.get(), out, nullptr) == 1);
}

struct Sha256Stream::Rep {
  DigestCtxPtr context;
};

Sha256Stream::Sha256Stream() : rep_(std::make_unique<Rep>()) {
  rep_->context.reset(EVP_MD_CTX_new());
  CSL_CHECK(rep_->context != nullptr);
  CSL_CHECK(EVP_DigestInit_ex(rep_->context.get(), EVP_sha256(), nullptr) == 1);
}
Sha256Stream::~Sha256Stream() = default;
Sha256Stream::Sha256Stream(Sha256Stream&&) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&&) noexcept = default;

void Sha256Stream::Update(absl::string_view data) {
  CSL_CHECK(EVP_DigestUpdate(rep_->context.get(), data.data(), data.size()) == 1);
}

std::string Sha256Stream::Finish() {
  std::string digest(kSha256Bytes, '\0');
  unsigned int size = 0;
  CSL_CHECK(EVP_DigestFinal_ex(rep_->context.get(), reinterpret_cast<unsigned char*>(digest.data()),
                               &size) == 1);
  CSL_CHECK(size == kSha256Bytes);
  CSL_CHECK(EVP_DigestInit_ex(rep_->context.get(), EVP_sha256(), nullptr) == 1);
  return digest;
}

absl::StatusOr<std::string> Sha256HexOfFile(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes_count, file.Bytes());
  Sha256Stream stream;
  std::vector<char> piece(static_cast<size_t>(std::min<uint64_t>(bytes_count, kFilePieceBytes)));
  for (uint64_t offset = 0; offset < bytes_count;) {
    const auto size =
        static_cast<size_t>(std::min<uint64_t>(bytes_count - offset, kFilePieceBytes));
    CSL_RETURN_IF_ERROR(file.ReadAt(offset, piece.data(), size));
    stream.Update(absl::string_view(piece.data(), size));
    offset += size;
  }
  return HexEncode(stream.Finish());
}

}  // namespace consilium::privacy
