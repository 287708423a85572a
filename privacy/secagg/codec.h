// The encodings of secagg v1: length prefixes and integers, read back with every length checked.
#ifndef CONSILIUM_PRIVACY_SECAGG_CODEC_H_
#define CONSILIUM_PRIVACY_SECAGG_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::secagg {

std::string BigEndian32(uint32_t value);        // u32be
std::string Prefixed(absl::string_view bytes);  // LP: u32be length, then the bytes

// Writes into memory that is wiped, also what growing leaves behind. Thread-compatible.
class SecretWriter {
 public:
  void U8(uint8_t value);
  void U32(uint32_t value);
  void U64(uint64_t value);
  void Fixed(absl::string_view bytes);     // as they are
  void Prefixed(absl::string_view bytes);  // LP
  privacy::SecretBytes Finish() &&;

 private:
  void Reserve(size_t bytes);
  privacy::SecretBytes buffer_;
  size_t size_ = 0;
};

// Reads what SecretWriter wrote. A read past the end or beyond a limit gives an empty value, and is
// remembered: status() is INVALID_ARGUMENT from then on. Borrows the bytes. Thread-compatible.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : rest_(bytes) {}
  uint8_t U8();
  uint32_t U32();
  uint64_t U64();
  absl::string_view Fixed(size_t size);
  absl::string_view Prefixed(size_t bytes_max);
  // A number of items, at most `max`.
  size_t Count(size_t max);
  void Fail() { ok_ = false; }  // what was read does not fit together
  bool ok() const { return ok_; }
  absl::Status status() const;
  // status(), and INVALID_ARGUMENT where bytes are left over.
  absl::Status Finish() const;

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_CODEC_H_
