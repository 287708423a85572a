#include "site_agent/intake/image_labels.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/intake/case_channels.h"

namespace consilium::agent {
namespace {

using Level = ImageLabelTable::Level;

constexpr size_t kNameBytesMax = 64;  // DICOM's SegmentLabel
constexpr size_t kKeyBytesMax = 64;   // DICOM's LO and UI
constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";

absl::Status Refuse(size_t line, size_t column, absl::string_view words) {
  std::string where = absl::StrCat("image labels: line ", line);
  if (column > 0) absl::StrAppend(&where, ", column ", column);
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", words));
}

// The records of a CSV, one after the other; a quoted cell may hold commas, quotes and line ends.
class CsvReader {
 public:
  explicit CsvReader(absl::string_view text) : text_(text) {
    absl::ConsumePrefix(&text_, kByteOrderMark);
  }
  bool done() const { return text_.empty(); }
  size_t line() const { return line_; }  // of the record read last, from 1

  absl::StatusOr<std::vector<std::string>> Next() {
    line_ = next_line_;
    std::vector<std::string> cells(1);
    bool quoted = false;
    while (!text_.empty()) {
      const char c = text_[0];
      text_.remove_prefix(1);
      if (c == '\n') ++next_line_;
      if (quoted) {
        if (c != '"') {
          cells.back() += c;
        } else if (absl::ConsumePrefix(&text_, "\"")) {
          cells.back() += '"';
        } else {
          quoted = false;
        }
      } else if (c == '"' && cells.back().empty()) {
        quoted = true;
      } else if (c == ',') {
        if (cells.size() == kImageLabelColumnsMax) return Refuse(line_, 0, "too many columns");
        cells.emplace_back();
      } else if (c == '\n') {
        break;
      } else if (c != '\r') {
        cells.back() += c;
      }
    }
    if (quoted) return Refuse(line_, 0, "a quotation mark is not closed");
    for (std::string& cell : cells) absl::StripAsciiWhitespace(&cell);
    return cells;
  }

 private:
  absl::string_view text_;
  size_t line_ = 0, next_line_ = 1;
};

struct Heading {
  Level level = Level::kPatient;
  size_t key_column = 0;
  std::vector<std::string> names;  // by column; of the key's: empty
};

bool IsLabelName(const std::string& name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

absl::StatusOr<Heading> ReadHeading(const std::vector<std::string>& cells,
                                    const LabelVocabulary& vocabulary) {
  constexpr std::pair<absl::string_view, Level> kKeys[] = {{"PatientID", Level::kPatient},
                                                           {"StudyInstanceUID", Level::kStudy},
                                                           {"SeriesInstanceUID", Level::kSeries}};
  Heading heading;
  std::set<std::string> seen;
  size_t keys = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    const auto* const key =
        std::find_if(std::begin(kKeys), std::end(kKeys),
                     [&](const auto& known) { return known.first == cells[i]; });
    if (key != std::end(kKeys)) {
      heading.level = key->second;
      heading.key_column = i;
      heading.names.emplace_back();
      ++keys;
      continue;
    }
    const std::string name = vocabulary.Canonical(cells[i]);
    if (!IsLabelName(name)) {
      return Refuse(1, i + 1, "a label's name must have 1 to 64 characters of ASCII");
    }
    if (!seen.insert(absl::AsciiStrToLower(name)).second) {
      return Refuse(1, i + 1, "the label is there twice");
    }
    heading.names.push_back(name);
  }
  if (keys != 1) {
    return Refuse(1, 0, "needs one column of PatientID, StudyInstanceUID or SeriesInstanceUID");
  }
  if (seen.empty()) return Refuse(1, 0, "has no column of a label");
  return heading;
}

std::string StoreKey(Level level, const std::string& key,
                     const privacy::Deidentifier& deidentifier) {
  return level == Level::kPatient ? deidentifier.PatientPseudonym(key) : deidentifier.MapUid(key);
}

const std::string& KeyOf(Level level, const CaseRecord& record) {
  switch (level) {
    case Level::kPatient:
      return record.patient;
    case Level::kStudy:
      return record.study;
    case Level::kSeries:
      break;
  }
  return record.series;
}

absl::StatusOr<std::map<std::string, bool>> ReadCells(const std::vector<std::string>& cells,
                                                      const Heading& heading, size_t line) {
  if (cells.size() != heading.names.size()) {
    return Refuse(line, 0, "has another number of columns than the first");
  }
  std::map<std::string, bool> said;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i == heading.key_column || cells[i].empty()) continue;
    if (cells[i] != "0" && cells[i] != "1") return Refuse(line, i + 1, "must be 0, 1 or empty");
    said[heading.names[i]] = cells[i] == "1";
  }
  return said;
}

}  // namespace

void ImageLabelTable::Add(const std::string& key, const std::map<std::string, bool>& said) {
  const auto [row, is_new] = rows.try_emplace(key);
  if (!is_new) ++repeated;
  for (const auto& [name, present] : said) {
    if (disputed.contains({key, name})) continue;
    const auto [cell, first] = row->second.try_emplace(name, present);
    if (first || cell->second == present) continue;
    ++conflicts;
    row->second.erase(cell);
    disputed.emplace(key, name);
  }
}

absl::StatusOr<ImageLabelTable> ParseImageLabels(absl::string_view csv,
                                                 const LabelVocabulary& vocabulary,
                                                 const privacy::Deidentifier& deidentifier) {
  if (csv.size() > kImageLabelBytesMax) {
    return absl::InvalidArgumentError("image labels: the file is too large");
  }
  CsvReader reader(csv);
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> first, reader.Next());
  CSL_ASSIGN_OR_RETURN(const Heading heading, ReadHeading(first, vocabulary));
  ImageLabelTable table;
  table.level = heading.level;
  for (size_t rows = 0; !reader.done(); ++rows) {
    if (rows == kImageLabelRowsMax) return Refuse(reader.line(), 0, "too many rows");
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> cells, reader.Next());
    if (cells.size() == 1 && cells[0].empty()) continue;  // an empty line
    CSL_ASSIGN_OR_RETURN(const auto said, ReadCells(cells, heading, reader.line()));
    const std::string& key = cells[heading.key_column];
    if (key.empty() || key.size() > kKeyBytesMax) {
      return Refuse(reader.line(), heading.key_column + 1, "must have 1 to 64 bytes");
    }
    table.Add(StoreKey(heading.level, key, deidentifier), said);
  }
  return table;
}

absl::StatusOr<ImageLabelReport> PutImageLabels(const std::string& home,
                                                const ImageLabelTable& table) {
  CSL_ASSIGN_OR_RETURN(Catalog catalog, LoadCatalog(home));
  CompleteRecords(home, catalog);
  ImageLabelReport report;
  report.rows = static_cast<int64_t>(table.rows.size());
  report.repeated = table.repeated;
  report.conflicts = table.conflicts;
  std::set<std::string> found;
  for (CaseRecord& record : catalog.cases) {
    const std::string& key = KeyOf(table.level, record);
    const auto row = table.rows.find(key);
    if (key.empty() || row == table.rows.end()) continue;
    found.insert(key);
    ++report.cases;
    std::map<std::string, bool> known = record.image_labels;
    bool is_changed = false;
    for (const auto& [name, present] : row->second) {
      const auto [cell, is_new] = known.try_emplace(name, present);
      is_changed |= !is_new && cell->second != present;
      cell->second = present;
      ++report.by_label[name][present ? 1 : 0];
    }
    if (is_changed) ++report.changed;
    if (known == record.image_labels) continue;
    record.image_labels = std::move(known);
    CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(CaseFolder(home, record.case_id), "case.json"),
                                        CaseToJson(record), kPrivateFile));
  }
  report.unknown = report.rows - static_cast<int64_t>(found.size());
  return report;
}

}  // namespace consilium::agent
