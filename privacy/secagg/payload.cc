#include "privacy/secagg/payload.h"

#include "absl/strings/str_cat.h"
#include "privacy/secagg/protocol.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"

namespace consilium::secagg {
namespace {

constexpr absl::string_view kMagic = "CSLMASK1";
constexpr size_t kBitsAt = kMagic.size() + kDigestBytes;
constexpr size_t kWordsAt = kBitsAt + 8;
static_assert(kWordsAt + 16 == kPayloadHeaderBytes);

}  // namespace

std::string EncodePayloadHeader(const PayloadHeader& header) {
  CSL_CHECK(header.session_id.size() == kDigestBytes);
  std::string bytes = absl::StrCat(kMagic, header.session_id);
  bytes.resize(kPayloadHeaderBytes, '\0');
  StoreLe32(header.bits, bytes.data() + kBitsAt);
  StoreLe64(header.words, bytes.data() + kWordsAt);
  return bytes;
}

absl::StatusOr<PayloadHeader> DecodePayloadHeader(absl::string_view bytes) {
  if (bytes.size() < kPayloadHeaderBytes) {
    return absl::InvalidArgumentError("masked update: shorter than its header");
  }
  PayloadHeader header;
  header.session_id = std::string(bytes.substr(kMagic.size(), kDigestBytes));
  header.bits = LoadLe32(bytes.data() + kBitsAt);
  header.words = LoadLe64(bytes.data() + kWordsAt);
  if ((header.bits != 16 && header.bits != 32) || header.words == 0 || header.words > kWordsMax) {
    return absl::InvalidArgumentError("masked update: bits or words out of range");
  }
  // Also the magic and the bytes that must be zero.
  if (bytes.substr(0, kPayloadHeaderBytes) != EncodePayloadHeader(header)) {
    return absl::InvalidArgumentError("masked update: not a header of this form");
  }
  return header;
}

}  // namespace consilium::secagg
