#include "privacy/deid/header_memo.h"

#include <utility>

namespace consilium::privacy {
namespace {

// What is larger is rarely the same twice.
constexpr size_t kPartBytesMax = 4 << 10;
constexpr size_t kBytesMax = 8 << 20;
constexpr size_t kEntryBytes = 256;  // of the map and the counts, about

}  // namespace

HeaderMemo::Part HeaderMemo::Find(absl::string_view terms, absl::string_view part) const {
  const absl::ReaderMutexLock lock(&mutex_);
  const auto parts = by_terms_.find(terms);
  if (parts == by_terms_.end()) return nullptr;
  const auto found = parts->second.find(part);
  return found == parts->second.end() ? nullptr : found->second;
}

void HeaderMemo::Add(absl::string_view terms, absl::string_view part, Part rewritten) {
  if (part.size() > kPartBytesMax) return;
  const absl::MutexLock lock(&mutex_);
  bytes_ += part.size() + rewritten->bytes.size() + kEntryBytes;
  if (bytes_ > kBytesMax) {
    by_terms_.clear();
    bytes_ = 0;
  }
  by_terms_[std::string(terms)].insert_or_assign(std::string(part), std::move(rewritten));
}

}  // namespace consilium::privacy
