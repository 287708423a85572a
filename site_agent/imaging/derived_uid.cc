#include "site_agent/imaging/derived_uid.h"

#include "absl/numeric/int128.h"
#include "privacy/crypto/sha256.h"

namespace consilium::imaging {

std::string DerivedUid(absl::string_view key, absl::string_view text) {
  const std::string digest = privacy::HmacSha256(key, text);
  absl::uint128 number = 0;
  for (int i = 0; i < 16; ++i) number = number << 8 | static_cast<unsigned char>(digest[i]);
  // The form of a random UUID (RFC 4122 4.4), which is what 2.25 stands for.
  number &= ~(absl::uint128(0xF) << 76);
  number |= absl::uint128(4) << 76;
  number &= ~(absl::uint128(3) << 62);
  number |= absl::uint128(2) << 62;
  std::string digits;
  while (number != 0) {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
    number /= 10;
  }
  return "2.25." + digits;
}

}  // namespace consilium::imaging
