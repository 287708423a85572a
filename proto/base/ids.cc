#include "proto/base/ids.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace consilium {

absl::Status CheckName(absl::string_view what, absl::string_view name) {
  const auto refuse = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": 1 to ", kNameBytesMax,
                     " characters of a-z, 0-9, '-', '_' and '.', the first a letter or digit"));
  };
  if (name.empty() || name.size() > kNameBytesMax) return refuse();
  const auto alphanumeric = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  if (!alphanumeric(name.front())) return refuse();
  for (const char c : name) {
    if (!alphanumeric(c) && c != '-' && c != '_' && c != '.') return refuse();
  }
  return absl::OkStatus();
}

}  // namespace consilium
