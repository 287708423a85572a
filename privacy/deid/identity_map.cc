#include "privacy/deid/identity_map.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/civil_time.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

using Wide = unsigned __int128;

Wide FirstBits(absl::string_view mac) {
  Wide value = 0;
  for (size_t i = 0; i < 16; ++i) value = value << 8 | static_cast<unsigned char>(mac[i]);
  return value;
}

bool IsDigits(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
}

// What may follow the date in a DT: HHMMSS.FFFFFF&ZZXX, each part absent or cut short.
bool IsTimeAndZone(absl::string_view text) {
  const auto take_digits = [&](size_t digits_max) {
    for (size_t i = 0; i < digits_max && !text.empty() && absl::ascii_isdigit(text[0]); ++i) {
      text.remove_prefix(1);
    }
  };
  take_digits(6);
  if (absl::ConsumePrefix(&text, ".")) take_digits(6);
  if (absl::ConsumePrefix(&text, "+") || absl::ConsumePrefix(&text, "-")) take_digits(4);
  return text.empty();
}

}  // namespace

std::string IdentityMap::Mac(absl::string_view purpose, absl::string_view value) const {
  // The length in front keeps ("ab", "c") and ("a", "bc") apart.
  return HmacSha256(key_.view(), absl::StrCat("consilium deid 1\n", purpose.size(), ":", purpose,
                                              value));
}

std::string IdentityMap::Uid(absl::string_view uid) const {
  if (uid.empty()) return "";
  Wide value = FirstBits(Mac("uid", uid));
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  std::reverse(digits.begin(), digits.end());
  return absl::StrCat("2.25.", digits);
}

std::string IdentityMap::Hex(absl::string_view purpose, absl::string_view value,
                             size_t hex_digits) const {
  if (value.empty()) return "";
  return HexEncode(Mac(purpose, value)).substr(0, hex_digits);
}

int IdentityMap::DateShiftDays(absl::string_view patient) const {
  return -365 - static_cast<int>(FirstBits(Mac("date", patient)) % 3286);
}

std::string ShiftDate(absl::string_view date, int days) {
  std::string text(date);
  if (text.size() == 10 && text[4] == '.' && text[7] == '.') {
    text = absl::StrCat(text.substr(0, 4), text.substr(5, 2), text.substr(8, 2));
  }
  int year = 0, month = 0, day = 0;
  if (text.size() < 8 || !IsDigits(absl::string_view(text).substr(0, 8)) ||
      !absl::SimpleAtoi(text.substr(0, 4), &year) || !absl::SimpleAtoi(text.substr(4, 2), &month) ||
      !absl::SimpleAtoi(text.substr(6, 2), &day)) {
    return "";
  }
  const std::string rest = text.substr(8);
  if (!IsTimeAndZone(rest)) return "";
  const absl::CivilDay from(year, month, day);
  // A CivilDay normalises 31 April to 1 May: such a value is no date.
  if (from.year() != year || from.month() != month || from.day() != day) return "";
  const absl::CivilDay to = from + days;
  if (to.year() < 1) return "";
  return absl::StrFormat("%04d%02d%02d%s", to.year(), to.month(), to.day(), rest);
}

std::string KeepTime(absl::string_view time) {
  if (time.size() > 16 || time.find_first_not_of("0123456789.:") != absl::string_view::npos) {
    return "";
  }
  return std::string(time);
}

}  // namespace consilium::privacy
