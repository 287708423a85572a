// The one message of a site that is large: its masked words, as sealed and uploaded.
//
//   "CSLMASK1"  session id (32 bytes)  u32le bits  u32le 0  u64le words  8 zero bytes
//   then the words, little-endian, of bits / 8 bytes each
//
// The header binds the words to a session, so that an update of other keys is refused at the door
// instead of spoiling a sum. Functions are thread-safe.
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
  std::string session_id;  // 32 bytes
  uint32_t bits = 32;      // 16 or 32
  uint64_t words = 0;
  friend bool operator==(const PayloadHeader&, const PayloadHeader&) = default;
};

// kPayloadHeaderBytes bytes. REQUIRES: a session id of 32 bytes.
std::string EncodePayloadHeader(const PayloadHeader& header);
// INVALID_ARGUMENT: not a header, or a field beyond its limits.
absl::StatusOr<PayloadHeader> DecodePayloadHeader(absl::string_view bytes);
// Of header and words.
uint64_t PayloadBytes(const PayloadHeader& header);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_PAYLOAD_H_
