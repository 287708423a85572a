// Entries as CSV for a spreadsheet: RFC 4180, UTF-8, CRLF, a heading. Thread-safe functions.
//
// A cell that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage
// return) gets an apostrophe in front, so that no text of a site can act on a reviewer's machine.
// The CSV proves nothing; its last line names the .jsonl that does.
#ifndef CONSILIUM_COORDINATOR_AUDIT_CSV_H_
#define CONSILIUM_COORDINATOR_AUDIT_CSV_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/audit/entry_view.h"

namespace consilium::coordinator {

std::string CsvCell(absl::string_view text);
std::string CsvLine(const std::vector<std::string>& cells);
std::string CsvHeading();
// `entry` is the last column: the exact bytes.
std::string CsvRow(const EntryRow& row, absl::string_view entry);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_CSV_H_
