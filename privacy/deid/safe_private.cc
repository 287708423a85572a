#include "privacy/deid/safe_private.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

std::string Key(absl::string_view creator, uint32_t group, uint32_t low_byte,
                absl::string_view vr) {
  return absl::StrFormat("%s\\%04X%02X%s", creator, group, low_byte, vr);
}

}  // namespace

const SafePrivate& SafePrivate::Get() {
  static const SafePrivate* const table = [] {
    absl::StatusOr<SafePrivate> parsed = Parse(kSafePrivateText);
    CSL_CHECK(parsed.ok());
    return new SafePrivate(*std::move(parsed));
  }();
  return *table;
}

absl::StatusOr<SafePrivate> SafePrivate::Parse(absl::string_view csv) {
  SafePrivate table;
  bool heading = true;
  for (const absl::string_view line : absl::StrSplit(csv, '\n', absl::SkipEmpty())) {
    if (heading) {
      heading = false;
      continue;
    }
    const std::vector<absl::string_view> cells = absl::StrSplit(line, ',');
    uint32_t group = 0, low_byte = 0;
    if (cells.size() != 5 || !absl::SimpleHexAtoi(cells[1], &group) ||
        !absl::SimpleHexAtoi(cells[2], &low_byte) || low_byte > 0xFF || cells[4] != "Y") {
      return absl::InvalidArgumentError("table of private attributes: a row is wrong");
    }
    table.rows_.insert(Key(cells[0], group, low_byte, cells[3]));
    table.places_.insert({group << 16 | 0x1000 | low_byte, group << 16});
  }
  if (table.rows_.size() < 300) {
    return absl::InvalidArgumentError("table of private attributes: rows are missing");
  }
  return table;
}

bool SafePrivate::Allows(absl::string_view creator, uint32_t tag, absl::string_view vr) const {
  return rows_.find(Key(creator, tag >> 16, tag & 0xFF, vr)) != rows_.end();
}

bool SafePrivate::MayAllow(uint32_t tag) const {
  const uint32_t element = tag & 0xFFFF;
  if (element >= 0x10 && element <= 0xFF) return places_.contains(tag & 0xFFFF0000);
  return element >= 0x1000 && places_.contains((tag & 0xFFFF0000) | 0x1000 | (element & 0xFF));
}

}  // namespace consilium::privacy
