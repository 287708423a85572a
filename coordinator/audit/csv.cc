#include "coordinator/audit/csv.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace consilium::coordinator {

std::string CsvCell(absl::string_view text) {
  std::string cell(text);
  if (!cell.empty() && absl::string_view("=+-@\t\r").find(cell.front()) != absl::string_view::npos) {
    cell = absl::StrCat("'", text);
  }
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  return absl::StrCat("\"", absl::StrReplaceAll(cell, {{"\"", "\"\""}}), "\"");
}

std::string CsvLine(const std::vector<std::string>& cells) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    absl::StrAppend(&line, i == 0 ? "" : ",", CsvCell(cells[i]));
  }
  return line + "\r\n";
}

std::string CsvHeading() {
  return CsvLine({"index", "time", "actor", "action", "outcome", "about", "detail", "entry"});
}

std::string CsvRow(const EntryRow& row, absl::string_view entry) {
  return CsvLine({row.index, row.time, row.actor, row.action, row.outcome, row.about, row.detail,
                  std::string(entry)});
}

}  // namespace consilium::coordinator
