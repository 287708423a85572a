// Private attributes that hold numbers and codes only: PS3.15 Table E.3.10-1 as data.
#ifndef CONSILIUM_PRIVACY_DEID_SAFE_PRIVATE_H_
#define CONSILIUM_PRIVACY_DEID_SAFE_PRIVATE_H_

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

// The rows of the table (CSV, edition 2026d) whose VR is a number or a code, compiled in. The table
// also blesses free text, bulk data and sequences; those are not kept.
extern const char* const kSafePrivateText;

// Immutable. One for each process: Get().
class SafePrivate {
 public:
  static const SafePrivate& Get();
  // INVALID_ARGUMENT: not the table.
  static absl::StatusOr<SafePrivate> Parse(absl::string_view csv);

  // By the creator's name and the low byte of the element, never by the whole tag: the block that a
  // creator reserves differs from file to file.
  bool Allows(absl::string_view creator, uint32_t tag, absl::string_view vr) const;
  // Whether Allows() can be true for some creator; also for the element that names one.
  bool MayAllow(uint32_t tag) const;
  size_t rows() const { return rows_.size(); }

 private:
  SafePrivate() = default;
  std::set<std::string, std::less<>> rows_;
  std::set<uint32_t> places_;  // group and low byte; and group alone, for creators
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_SAFE_PRIVATE_H_
