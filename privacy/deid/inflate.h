// Compressed bytes of strangers, within a budget.
#ifndef CONSILIUM_PRIVACY_DEID_INFLATE_H_
#define CONSILIUM_PRIVACY_DEID_INFLATE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

enum class Compressed { kRaw, kGzip };  // RFC 1951, RFC 1952

struct Inflated {
  std::string bytes;
  bool whole = false;  // the stream ended well, within the bytes that were allowed
};
// From the start, at most `bytes_max`. Not whole: there is more, or it is broken there. INTERNAL:
// zlib.
absl::StatusOr<Inflated> InflateUpTo(absl::string_view compressed, Compressed form,
                                     uint64_t bytes_max);

// The data set (PS3.5 A.5) behind a meta header that says "deflated". INVALID_ARGUMENT: a broken
// stream, or one that grows beyond what honest images reach.
absl::StatusOr<std::string> InflateDataset(absl::string_view deflated);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_INFLATE_H_
