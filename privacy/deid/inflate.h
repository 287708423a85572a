// Deflated data sets (PS3.5 A.5), within a budget.
#ifndef CONSILIUM_PRIVACY_DEID_INFLATE_H_
#define CONSILIUM_PRIVACY_DEID_INFLATE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

// The data set behind a meta header that says "deflated". INVALID_ARGUMENT: a broken stream, or one
// that grows beyond what honest images reach.
absl::StatusOr<std::string> InflateDataset(absl::string_view deflated);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_INFLATE_H_
