// Points in time as an administrator types them.
#ifndef CONSILIUM_COORDINATOR_CLI_AUDIT_TIME_H_
#define CONSILIUM_COORDINATOR_CLI_AUDIT_TIME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::coordinator {

// A day (its start, UTC), an RFC 3339 time, or how long before `now` ("90m", "24h", "7d").
// INVALID_ARGUMENT starts with `option`.
absl::StatusOr<absl::Time> ParseAuditTime(absl::string_view option, const std::string& text,
                                          absl::Time now);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_AUDIT_TIME_H_
