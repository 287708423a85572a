#include "proto/base/bytes.h"

#include <array>
#include <bit>
#include <cstring>

#include "absl/strings/escaping.h"

namespace consilium {
namespace {

// Inlined everywhere here, which position-independent code does not allow of LoadLe64 itself.
inline uint64_t Word(const char* in) {
  uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, in, sizeof(value));
  } else {
    for (int i = 0; i < 8; ++i) value |= uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  }
  return value;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr uint32_t kCastagnoliReversed = 0x82f63b78;

// table[k][b]: the CRC of byte b followed by k zero bytes ("slicing by 8").
std::array<std::array<uint32_t, 256>, 8> MakeCrcTable() {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kCastagnoliReversed : 0);
    table[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t b = 0; b < 256; ++b) {
      table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xff];
    }
  }
  return table;
}

uint32_t Crc32cTable(uint32_t crc, const char* data, size_t size) {
  static const auto table = MakeCrcTable();
  while (size >= 8) {
    const uint64_t word = Word(data) ^ crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= table[7 - k][(word >> (8 * k)) & 0xff];
    data += 8;
    size -= 8;
  }
  for (; size > 0; --size, ++data) {
    crc = (crc >> 8) ^ table[0][(crc ^ static_cast<unsigned char>(*data)) & 0xff];
  }
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Crc32cSerial(uint32_t start, const char* data,
                                                        size_t size) {
  uint64_t crc = start;
  for (; size >= 8; size -= 8, data += 8) crc = __builtin_ia32_crc32di(crc, Word(data));
  auto narrow = static_cast<uint32_t>(crc);
  for (; size > 0; --size, ++data) {
    narrow = __builtin_ia32_crc32qi(narrow, static_cast<unsigned char>(*data));
  }
  return narrow;
}

constexpr size_t kLaneBytes = 4096;  // a multiple of 8

// [k][b]: what becomes of a CRC of b << 8k when kLaneBytes zero bytes follow.
std::array<std::array<uint32_t, 256>, 4> MakeLaneTable() {
  static const std::array<char, kLaneBytes> zeros{};
  std::array<std::array<uint32_t, 256>, 4> table{};
  for (int k = 0; k < 4; ++k) {
    for (uint32_t b = 0; b < 256; ++b) {
      table[k][b] = Crc32cSerial(b << (8 * k), zeros.data(), zeros.size());
    }
  }
  return table;
}

// The instruction's result comes after 3 cycles, but one can start in each: three lanes side by side,
// joined by what the bytes after a lane do to its CRC.
__attribute__((target("sse4.2"))) uint32_t Crc32cSse42(uint32_t crc, const char* data,
                                                       size_t size) {
  static const auto table = MakeLaneTable();
  const auto past_lane = [](uint32_t lane) {
    return table[0][lane & 0xff] ^ table[1][lane >> 8 & 0xff] ^ table[2][lane >> 16 & 0xff] ^
           table[3][lane >> 24];
  };
  for (; size >= 3 * kLaneBytes; size -= 3 * kLaneBytes, data += 3 * kLaneBytes) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < kLaneBytes; i += 8) {
      a = __builtin_ia32_crc32di(a, Word(data + i));
      b = __builtin_ia32_crc32di(b, Word(data + kLaneBytes + i));
      c = __builtin_ia32_crc32di(c, Word(data + 2 * kLaneBytes + i));
    }
    crc = past_lane(past_lane(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b)) ^
          static_cast<uint32_t>(c);
  }
  return Crc32cSerial(crc, data, size);
}
#endif

}  // namespace

std::string HexEncode(absl::string_view bytes) { return absl::BytesToHexString(bytes); }

absl::StatusOr<std::string> HexDecode(absl::string_view hex) {
  if (hex.size() % 2 != 0) return absl::InvalidArgumentError("hex text of odd length");
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexDigit(hex[i]);
    const int low = HexDigit(hex[i + 1]);
    if (high < 0 || low < 0) return absl::InvalidArgumentError("not a hex digit");
    bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return bytes;
}

std::string Base64Encode(absl::string_view bytes) { return absl::Base64Escape(bytes); }

absl::StatusOr<std::string> Base64Decode(absl::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) return absl::InvalidArgumentError("not base64");
  return bytes;
}

void StoreLe32(uint32_t value, char* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

void StoreLe64(uint64_t value, char* out) {
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

uint32_t LoadLe32(const char* in) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(in[i])} << (8 * i);
  return value;
}

uint64_t LoadLe64(const char* in) { return Word(in); }

std::string BigEndian64(uint64_t value) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i));
  return bytes;
}

uint32_t ExtendCrc32c(uint32_t crc, absl::string_view bytes) {
#if defined(__x86_64__)
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2");
  if (has_sse42) return ~Crc32cSse42(~crc, bytes.data(), bytes.size());
#endif
  return ~Crc32cTable(~crc, bytes.data(), bytes.size());
}

uint32_t Crc32c(absl::string_view bytes) { return ExtendCrc32c(0, bytes); }

}  // namespace consilium
