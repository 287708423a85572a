// Identifiers that the compiler keeps apart, and the one rule for names that people choose.
#ifndef CONSILIUM_PROTO_BASE_IDS_H_
#define CONSILIUM_PROTO_BASE_IDS_H_

#include <compare>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium {

// A string that names one kind of thing. Immutable value; hashable and ordered.
template <typename Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string value) : value_(std::move(value)) {}
  explicit Id(absl::string_view value) : value_(value) {}
  explicit Id(const char* value) : value_(value) {}
  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Id& id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  std::string value_;
};

using SiteId = Id<struct SiteTag>;
using StudyId = Id<struct StudyTag>;

inline constexpr size_t kNameBytesMax = 63;

// OK for [a-z0-9] followed by [a-z0-9_.-]*, at most 63 bytes: safe as a file name, in a URI and in
// a log line. INVALID_ARGUMENT otherwise; `what` ("site name") starts the message.
absl::Status CheckName(absl::string_view what, absl::string_view name);

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_IDS_H_
