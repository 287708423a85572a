// Early return on errors. Which code to use when: docs/architecture.md, "Errors".
#ifndef CONSILIUM_PROTO_BASE_STATUS_H_
#define CONSILIUM_PROTO_BASE_STATUS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace consilium {

// The same error with `context: ` in front of its message. OK stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace consilium

#define CSL_CONCAT_INNER(a, b) a##b
#define CSL_CONCAT(a, b) CSL_CONCAT_INNER(a, b)

#define CSL_RETURN_IF_ERROR(expr)                                        \
  do {                                                                   \
    if (::absl::Status csl_status = (expr); !csl_status.ok()) return csl_status; \
  } while (false)

#define CSL_ASSIGN_OR_RETURN(lhs, expr) \
  CSL_ASSIGN_OR_RETURN_INNER(CSL_CONCAT(csl_statusor_, __LINE__), lhs, expr)
#define CSL_ASSIGN_OR_RETURN_INNER(tmp, lhs, expr) \
  auto tmp = (expr);                               \
  if (!tmp.ok()) return std::move(tmp).status();   \
  lhs = *std::move(tmp)

#endif  // CONSILIUM_PROTO_BASE_STATUS_H_
