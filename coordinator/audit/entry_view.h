// An entry's bytes as a reader sees them (FORMAT.md section 1). Thread-safe functions.
#ifndef CONSILIUM_COORDINATOR_AUDIT_ENTRY_VIEW_H_
#define CONSILIUM_COORDINATOR_AUDIT_ENTRY_VIEW_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/transparency/export_writer.h"

namespace consilium::coordinator {

// What every verifier looks at. INVALID_ARGUMENT: not an entry, or a version that is not known.
struct EntryStamp {
  uint64_t index = 0;
  int64_t time_us = 0;
};
absl::StatusOr<EntryStamp> ReadEntryStamp(absl::string_view entry);

// Whether `entry` holds the commitment (in hex).
bool HoldsCommitment(absl::string_view entry, absl::string_view commitment);

// One entry for people: every field as text, in the entry's order. A commitment is shown as its
// disclosed value, or as "commitment 9c1f2a40..". Nested fields are named "esign.meaning".
struct EntryView {
  EntryStamp stamp;
  std::vector<std::pair<std::string, std::string>> fields;
  absl::string_view Field(absl::string_view name) const;  // "" if it has none
};
absl::StatusOr<EntryView> ReadEntryView(absl::string_view entry,
                                        absl::Span<const privacy::OpenedCommitment> opened = {});

// What is in a table, a CSV and a PDF: "actor" with its role, what it is about, and so on.
struct EntryRow {
  std::string index;
  std::string time;  // UTC, RFC 3339
  std::string actor;
  std::string action;
  std::string outcome;
  std::string about;   // study, round, version, site
  std::string detail;  // reason, before and after, and every field with no column of its own
};
EntryRow MakeEntryRow(const EntryView& view);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_ENTRY_VIEW_H_
