#include "privacy/secagg/payload.h"

#include "privacy/secagg/protocol.h"
#include "proto/base/check.h"

namespace consilium::secagg {
namespace {

constexpr absl::string_view kMagic = "CSLMASK1";
constexpr size_t kSessionAt = 8;
constexpr size_t kBitsAt = kSessionAt + kDigestBytes;
constexpr size_t kWordsAt = kBitsAt + 8;

void PutLittleEndian(std::string& out, size_t at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out[at + i] = static_cast<char>((value >> (8 * i)) & 0xff);
}

uint64_t GetLittleEndian(absl::string_view in, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(in[at + i])) << (8 * i);
  }
  return value;
}

}  // namespace

std::string EncodePayloadHeader(const PayloadHeader& header) {
  CSL_CHECK(header.session_id.size() == kDigestBytes);
  std::string bytes(kPayloadHeaderBytes, '\0');
  bytes.replace(0, kMagic.size(), kMagic.data(), kMagic.size());
  bytes.replace(kSessionAt, kDigestBytes, header.session_id);
  PutLittleEndian(bytes, kBitsAt, header.bits, 4);
  PutLittleEndian(bytes, kWordsAt, header.words, 8);
  return bytes;
}

absl::StatusOr<PayloadHeader> DecodePayloadHeader(absl::string_view bytes) {
  if (bytes.size() != kPayloadHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic) {
    return absl::InvalidArgumentError("masked update: it does not begin with CSLMASK1");
  }
  PayloadHeader header;
  header.session_id = std::string(bytes.substr(kSessionAt, kDigestBytes));
  header.bits = static_cast<uint32_t>(GetLittleEndian(bytes, kBitsAt, 4));
  header.words = GetLittleEndian(bytes, kWordsAt, 8);
  if (header.bits != 16 && header.bits != 32) {
    return absl::InvalidArgumentError("masked update: its words have neither 16 nor 32 bits");
  }
  if (header.words > kWordsMax || EncodePayloadHeader(header) != bytes) {
    return absl::InvalidArgumentError("masked update: its header does not read");
  }
  return header;
}

uint64_t PayloadBytes(const PayloadHeader& header) {
  return kPayloadHeaderBytes + header.words * (header.bits / 8);
}

}  // namespace consilium::secagg
