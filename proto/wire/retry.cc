#include "proto/wire/retry.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace consilium::wire {
namespace {

constexpr const char* kPayload = "consilium/retry-after-ns";

}  // namespace

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  const absl::Duration bounded = std::clamp(delay, absl::ZeroDuration(), kRetryAfterMax);
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(bounded))));
  return status;
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  int64_t nanoseconds = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &nanoseconds)) return std::nullopt;
  return absl::Nanoseconds(nanoseconds);
}

}  // namespace consilium::wire
