#include "privacy/transparency/utf8.h"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace consilium::privacy {
namespace {

// Takes one code point off the front; nothing if there is none that is well formed.
std::optional<uint32_t> Next(absl::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3
                        : lead >> 3 == 30                ? 4
                                                         : 0;
  if (length == 0 || text.size() < length) return std::nullopt;
  uint32_t point = length == 1 ? lead : lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >> 6 != 2) return std::nullopt;
    point = point << 6 | (byte & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kSmallest[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
    return std::nullopt;
  }
  text.remove_prefix(length);
  return point;
}

bool IsSpaceOrControl(uint32_t point) {
  return point <= 0x20 || (point >= 0x7f && point <= 0xa0) || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
         point == 0x202f || point == 0x205f || point == 0x3000;
}

}  // namespace

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    if (!Next(text).has_value()) return false;
  }
  return true;
}

bool HasSpaceOrControl(absl::string_view text) {
  while (!text.empty()) {
    const std::optional<uint32_t> point = Next(text);
    if (!point.has_value() || IsSpaceOrControl(*point)) return true;
  }
  return false;
}

}  // namespace consilium::privacy
