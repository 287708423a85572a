#include "privacy/crypto/hkdf.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

// HMAC-SHA256 into memory that its owner wipes.
void HmacInto(absl::string_view key, absl::string_view data, char* out) {
  CSL_CHECK(key.size() <= INT_MAX);
  unsigned int size = 0;
  const unsigned char* result =
      HMAC(EVP_sha256(), key.empty() ? "" : key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(data.data()), data.size(),
           reinterpret_cast<unsigned char*>(out), &size);
  CSL_CHECK(result != nullptr && size == kSha256Bytes);
}

}  // namespace

SecretBytes HkdfExtract(absl::string_view salt, absl::string_view input_key) {
  SecretBytes key(kSha256Bytes);
  HmacInto(salt, input_key, key.data());  // HMAC pads an empty key with zeros itself
  return key;
}

absl::StatusOr<SecretBytes> HkdfExpand(absl::string_view pseudorandom_key, absl::string_view info,
                                       size_t output_bytes) {
  if (pseudorandom_key.size() < kSha256Bytes) {
    return absl::InvalidArgumentError("HKDF: the pseudorandom key is shorter than 32 bytes");
  }
  if (output_bytes > kHkdfOutputBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("HKDF: at most ", kHkdfOutputBytesMax, " bytes, not ", output_bytes));
  }
  SecretBytes output(output_bytes);
  SecretBytes block(kSha256Bytes);
  SecretBytes input(kSha256Bytes + info.size() + 1);  // T(i-1) | info | i
  std::copy(info.begin(), info.end(), input.data() + kSha256Bytes);
  char counter = 1;
  for (size_t done = 0; done < output_bytes; ++counter) {
    input.data()[input.size() - 1] = counter;
    std::memcpy(input.data(), block.data(), kSha256Bytes);
    // T(0) is empty.
    HmacInto(pseudorandom_key, input.view().substr(done == 0 ? kSha256Bytes : 0), block.data());
    const size_t size = std::min(kSha256Bytes, output_bytes - done);
    std::memcpy(output.data() + done, block.data(), size);
    done += size;
  }
  return output;
}

absl::StatusOr<SecretBytes> Hkdf(absl::string_view salt, absl::string_view input_key,
                                 absl::string_view info, size_t output_bytes) {
  return HkdfExpand(HkdfExtract(salt, input_key).view(), info, output_bytes);
}

}  // namespace consilium::privacy
