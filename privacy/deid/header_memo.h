// What attributes became, bytes for bytes, while one patient's files are worked on.
//
// The files of a series differ in a few attributes; parsing, judging and encoding the others again
// and again would cost more than their pixels.
#ifndef CONSILIUM_PRIVACY_DEID_HEADER_MEMO_H_
#define CONSILIUM_PRIVACY_DEID_HEADER_MEMO_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "privacy/deid/deid_report.h"

namespace consilium::privacy {

// Some attributes as they are written, and what was counted when they were made.
struct RewrittenPart {
  std::string bytes;  // explicit little endian; empty: nothing stays
  DeidReport report;
};

// Privacy: holds identities, in memory only; for one patient's tokens and one profile. Thread-safe.
class HeaderMemo {
 public:
  using Part = std::shared_ptr<const RewrittenPart>;

  // Null: not known. `terms` is what the outcome depends on besides the attributes' own bytes.
  Part Find(absl::string_view terms, absl::string_view part) const;
  void Add(absl::string_view terms, absl::string_view part, Part rewritten);

 private:
  using Parts = absl::flat_hash_map<std::string, Part>;

  mutable absl::Mutex mutex_;
  std::map<std::string, Parts, std::less<>> by_terms_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_HEADER_MEMO_H_
