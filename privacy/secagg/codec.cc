#include "privacy/secagg/codec.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"

namespace consilium::secagg {

std::string BigEndian32(uint32_t value) { return BigEndian64(value).substr(4); }

std::string Prefixed(absl::string_view bytes) {
  CSL_CHECK(bytes.size() <= UINT32_MAX);
  return absl::StrCat(BigEndian32(static_cast<uint32_t>(bytes.size())), bytes);
}

void SecretWriter::Reserve(size_t bytes) {
  if (size_ + bytes <= buffer_.size()) return;
  privacy::SecretBytes larger(std::max(2 * buffer_.size(), size_ + bytes));
  std::copy_n(buffer_.view().data(), size_, larger.data());
  buffer_ = std::move(larger);
}

void SecretWriter::Fixed(absl::string_view bytes) {
  if (bytes.empty()) return;
  Reserve(bytes.size());
  std::memcpy(buffer_.data() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void SecretWriter::U8(uint8_t value) {
  const char byte = static_cast<char>(value);
  Fixed(absl::string_view(&byte, 1));
}

void SecretWriter::U32(uint32_t value) { Fixed(BigEndian32(value)); }
void SecretWriter::U64(uint64_t value) { Fixed(BigEndian64(value)); }

void SecretWriter::Prefixed(absl::string_view bytes) {
  CSL_CHECK(bytes.size() <= UINT32_MAX);
  U32(static_cast<uint32_t>(bytes.size()));
  Fixed(bytes);
}

privacy::SecretBytes SecretWriter::Finish() && {
  privacy::SecretBytes result(buffer_.view().substr(0, size_));
  return result;
}

absl::string_view Reader::Fixed(size_t size) {
  if (!ok_ || size > rest_.size()) {
    ok_ = false;
    return {};
  }
  const absl::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

uint64_t Reader::U64() {
  uint64_t value = 0;
  for (const char c : Fixed(8)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

uint32_t Reader::U32() {
  uint32_t value = 0;
  for (const char c : Fixed(4)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

uint8_t Reader::U8() {
  const absl::string_view byte = Fixed(1);
  return byte.empty() ? 0 : static_cast<uint8_t>(byte[0]);
}

absl::string_view Reader::Prefixed(size_t bytes_max) { return Fixed(Count(bytes_max)); }

size_t Reader::Count(size_t max) {
  const uint32_t count = U32();
  if (count > max) ok_ = false;
  return ok_ ? count : 0;
}

absl::Status Reader::status() const {
  return ok_ ? absl::OkStatus() : absl::InvalidArgumentError("cut short or beyond a limit");
}

absl::Status Reader::Finish() const {
  if (ok_ && !rest_.empty()) return absl::InvalidArgumentError("bytes are left over");
  return status();
}

}  // namespace consilium::secagg
