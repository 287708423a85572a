// The plaintext of a masked update, before it is sealed to the coordinator:
//
//   offset  bytes
//        0      8  "CSLMASK1"
//        8     32  session id
//       40      4  u32le bits, 16 or 32
//       44      4  zero
//       48      8  u64le words
//       56      8  zero
//       64      -  the masked words, little-endian, bits / 8 bytes each
//
// The session id says to which masks the words belong: words of another session would only add noise
// to a sum. Functions are thread-safe.
#ifndef CONSILIUM_PRIVACY_SECAGG_PAYLOAD_H_
#define CONSILIUM_PRIVACY_SECAGG_PAYLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::secagg {

inline constexpr size_t kPayloadHeaderBytes = 64;

struct PayloadHeader {
  std::string session_id;  // kDigestBytes
  uint32_t bits = 32;
  uint64_t words = 0;

  // Of the whole payload, header and words.
  uint64_t PayloadBytes() const { return kPayloadHeaderBytes + words * (bits / 8); }
  friend bool operator==(const PayloadHeader&, const PayloadHeader&) = default;
};

// REQUIRES: a session id of kDigestBytes.
std::string EncodePayloadHeader(const PayloadHeader& header);
// Of the first kPayloadHeaderBytes bytes. INVALID_ARGUMENT: too short, another form, bits that are not
// 16 or 32, no words or more than kWordsMax.
absl::StatusOr<PayloadHeader> DecodePayloadHeader(absl::string_view bytes);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_PAYLOAD_H_
