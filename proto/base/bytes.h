// Byte-level encodings that every folder needs: hex, base64, little-endian integers, CRC32C.
#ifndef CONSILIUM_PROTO_BASE_BYTES_H_
#define CONSILIUM_PROTO_BASE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

std::string HexEncode(absl::string_view bytes);  // lower case
// INVALID_ARGUMENT: odd length or a character outside [0-9a-fA-F].
absl::StatusOr<std::string> HexDecode(absl::string_view hex);

std::string Base64Encode(absl::string_view bytes);  // RFC 4648 section 4, padded
absl::StatusOr<std::string> Base64Decode(absl::string_view text);

void StoreLe32(uint32_t value, char* out);
void StoreLe64(uint64_t value, char* out);
uint32_t LoadLe32(const char* in);
uint64_t LoadLe64(const char* in);
std::string BigEndian64(uint64_t value);  // 8 bytes; sorts like the number

// CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the CPU's instruction where there is one.
uint32_t Crc32c(absl::string_view bytes);
// The CRC of a text whose beginning has `crc` and that goes on with `bytes`; 0 for no beginning.
uint32_t ExtendCrc32c(uint32_t crc, absl::string_view bytes);

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_BYTES_H_
