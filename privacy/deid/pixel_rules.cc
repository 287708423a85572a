#include "privacy/deid/pixel_rules.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/deid/element_text.h"
#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

constexpr int kSideMax = 65535;  // US
constexpr size_t kNameBytesMax = 64;
constexpr size_t kTextBytesMax = 64;
constexpr size_t kBoxesMax = 64;

absl::Status Refuse(absl::string_view what) { return absl::InvalidArgumentError(what); }

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

// What stands between double quotes in YAML as it is.
bool IsPlainText(absl::string_view text) {
  return text.size() <= kTextBytesMax && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isprint(c) && c != '"' && c != '\\';
         });
}

bool LiesIn(const PixelBox& box, const PixelRule& rule) {
  return box.row >= 0 && box.column >= 0 && box.rows > 0 && box.columns > 0 &&
         box.rows <= rule.rows - box.row && box.columns <= rule.columns - box.column;
}

bool Matches(absl::string_view pattern, absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(pattern, '*');
  if (parts.size() == 1) return absl::EqualsIgnoreCase(pattern, text);
  if (!absl::StartsWithIgnoreCase(text, parts.front())) return false;
  text.remove_prefix(parts.front().size());
  for (size_t i = 1; i + 1 < parts.size(); ++i) {  // the first place is as good as any
    while (!absl::StartsWithIgnoreCase(text, parts[i])) {
      if (text.empty()) return false;
      text.remove_prefix(1);
    }
    text.remove_prefix(parts[i].size());
  }
  return absl::EndsWithIgnoreCase(text, parts.back());
}

bool AnyMatches(absl::string_view pattern, absl::string_view values) {
  for (const absl::string_view value : absl::StrSplit(values, '\\')) {
    if (Matches(pattern, absl::StripAsciiWhitespace(value))) return true;
  }
  return false;
}

// What a header says, read once for all rules.
struct Header {
  explicit Header(DcmDataset& dataset)
      : modality(TextOf(dataset, DCM_Modality)),
        sop_class(TextOf(dataset, DCM_SOPClassUID)),
        manufacturer(TextOf(dataset, DCM_Manufacturer)),
        model(TextOf(dataset, DCM_ManufacturerModelName)),
        software(TextOf(dataset, DCM_SoftwareVersions)),
        image_type(TextOf(dataset, DCM_ImageType)) {
    (void)dataset.findAndGetUint16(DCM_Rows, rows);
    (void)dataset.findAndGetUint16(DCM_Columns, columns);
  }

  bool Fits(const PixelRule& rule) const {
    const auto asks = [](const std::string& pattern, absl::string_view value) {
      return pattern.empty() || AnyMatches(pattern, value);
    };
    return (rule.rows == 0 || rule.rows == rows) &&
           (rule.columns == 0 || rule.columns == columns) && asks(rule.modality, modality) &&
           asks(rule.sop_class, sop_class) && asks(rule.manufacturer, manufacturer) &&
           asks(rule.model, model) && asks(rule.software, software) &&
           std::all_of(rule.image_type.begin(), rule.image_type.end(),
                       [&](const std::string& value) { return AnyMatches(value, image_type); });
  }

  const std::string modality, sop_class, manufacturer, model, software, image_type;
  Uint16 rows = 0, columns = 0;
};

std::vector<PixelBox> Outside(const std::vector<PixelBox>& kept, int rows, int columns) {
  // Row by row: what is kept may overlap.
  std::vector<PixelBox> boxes;
  std::vector<bool> covered;
  for (int row = 0; row < rows; ++row) {
    covered.assign(static_cast<size_t>(columns), false);
    for (const PixelBox& box : kept) {
      if (row < box.row || row - box.row >= box.rows) continue;
      const int end = std::min(columns, box.column + box.columns);
      for (int x = box.column; x < end; ++x) covered[static_cast<size_t>(x)] = true;
    }
    for (auto begin = covered.begin(); begin != covered.end();) {
      const auto end = std::find(begin, covered.end(), true);
      if (end != begin) {
        boxes.push_back(
            {row, static_cast<int>(begin - covered.begin()), 1, static_cast<int>(end - begin)});
      }
      begin = std::find(end, covered.end(), false);
    }
  }
  return boxes;
}

// name,modality,manufacturer,model,image_type,rows,top,bottom
PixelRule ReadRow(absl::string_view line) {
  const std::vector<std::string> cells = absl::StrSplit(line, ',');
  CSL_CHECK(cells.size() == 8);
  PixelRule rule{
      .name = cells[0], .modality = cells[1], .manufacturer = cells[2], .model = cells[3]};
  if (!cells[4].empty()) rule.image_type = {cells[4]};
  CSL_CHECK(absl::SimpleAtoi(cells[5], &rule.rows) && absl::SimpleAtoi(cells[6], &rule.top) &&
            absl::SimpleAtoi(cells[7], &rule.bottom));
  CSL_CHECK(CheckPixelRule(rule).ok());
  return rule;
}

}  // namespace

absl::Status CheckPixelRule(const PixelRule& rule) {
  if (!IsName(rule.name)) return Refuse("name: must be letters, digits and -_. (at most 64)");
  std::vector<std::string> texts = {rule.modality, rule.sop_class, rule.manufacturer, rule.model,
                                    rule.software};
  const bool asks = std::any_of(texts.begin(), texts.end() - 1,
                                [](const std::string& text) { return !text.empty(); });
  if (!asks) {
    return Refuse("matches every picture; give modality, sop_class, manufacturer or model");
  }
  texts.insert(texts.end(), rule.image_type.begin(), rule.image_type.end());
  if (!std::all_of(texts.begin(), texts.end(), IsPlainText)) {
    return Refuse("texts must be of at most 64 ASCII letters, without quotes and backslashes");
  }
  const std::array<int, 6> lengths = {rule.rows,   rule.columns, rule.top,
                                      rule.bottom, rule.left,    rule.right};
  if (!std::all_of(lengths.begin(), lengths.end(), [](int n) { return n >= 0 && n <= kSideMax; })) {
    return Refuse("lengths must be 0 to 65535 pixels");
  }
  const bool boxes = !rule.blacken.empty() || !rule.keep.empty();
  const bool along = rule.top > 0 || rule.bottom > 0, beside = rule.left > 0 || rule.right > 0;
  if (!boxes && !along && !beside) {
    return Refuse("blackens nothing; give top, bottom, left, right, blacken or keep");
  }
  if ((rule.rows == 0 && (boxes || along)) || (rule.columns == 0 && (boxes || beside))) {
    return Refuse(
        "a place means nothing without the size of the picture; give rows and columns "
        "(rows alone for top and bottom, columns alone for left and right)");
  }
  if (rule.top + rule.bottom > rule.rows || (beside && rule.left + rule.right > rule.columns)) {
    return Refuse("top and bottom, or left and right, are more than the picture");
  }
  if (rule.blacken.size() > kBoxesMax || rule.keep.size() > kBoxesMax) {
    return Refuse("blacken and keep may have at most 64 places each");
  }
  const auto inside = [&](const PixelBox& box) { return LiesIn(box, rule); };
  if (!std::all_of(rule.blacken.begin(), rule.blacken.end(), inside) ||
      !std::all_of(rule.keep.begin(), rule.keep.end(), inside)) {
    return Refuse("a place of blacken or keep does not lie in pictures of these rows and columns");
  }
  return absl::OkStatus();
}

const std::vector<PixelRule>& BuiltInPixelRules() {
  static const auto* const rules = [] {
    auto* read = new std::vector<PixelRule>;
    bool heading = true;
    for (const absl::string_view line : absl::StrSplit(kPixelRulesText, '\n', absl::SkipEmpty())) {
      if (absl::StartsWith(line, "#")) continue;
      if (!heading) read->push_back(ReadRow(line));
      heading = false;
    }
    return read;
  }();
  return *rules;
}

std::vector<const PixelRule*> MatchingPixelRules(DcmDataset& dataset,
                                                 const std::vector<PixelRule>& own) {
  const Header header(dataset);
  std::vector<const PixelRule*> matching;
  for (const std::vector<PixelRule>* const rules : {&own, &BuiltInPixelRules()}) {
    for (const PixelRule& rule : *rules) {
      if (header.Fits(rule)) matching.push_back(&rule);
    }
  }
  return matching;
}

std::vector<PixelBox> BoxesOf(const PixelRule& rule, int rows, int columns) {
  std::vector<PixelBox> boxes;
  if (!rule.keep.empty()) boxes = Outside(rule.keep, rows, columns);
  boxes.insert(boxes.end(), rule.blacken.begin(), rule.blacken.end());
  if (rule.top > 0) boxes.push_back({0, 0, rule.top, columns});
  if (rule.bottom > 0) boxes.push_back({rows - rule.bottom, 0, rule.bottom, columns});
  if (rule.left > 0) boxes.push_back({0, 0, rows, rule.left});
  if (rule.right > 0) boxes.push_back({0, columns - rule.right, rows, rule.right});
  return boxes;
}

std::optional<std::vector<PixelBox>> OutsideUltrasoundRegions(DcmDataset& dataset, int rows,
                                                              int columns) {
  DcmSequenceOfItems* regions = nullptr;
  if (dataset.findAndGetSequence(DCM_SequenceOfUltrasoundRegions, regions).bad() ||
      regions == nullptr) {
    return std::nullopt;
  }
  std::vector<PixelBox> kept;
  for (unsigned long i = 0; i < regions->card(); ++i) {
    Uint32 left = 0, top = 0, right = 0, bottom = 0;
    DcmItem& region = *regions->getItem(i);
    if (region.findAndGetUint32(DCM_RegionLocationMinX0, left).bad() ||
        region.findAndGetUint32(DCM_RegionLocationMinY0, top).bad() ||
        region.findAndGetUint32(DCM_RegionLocationMaxX1, right).bad() ||
        region.findAndGetUint32(DCM_RegionLocationMaxY1, bottom).bad()) {
      continue;
    }
    right = std::min(right, static_cast<Uint32>(columns - 1));
    bottom = std::min(bottom, static_cast<Uint32>(rows - 1));
    if (left > right || top > bottom) continue;
    kept.push_back({static_cast<int>(top), static_cast<int>(left),
                    static_cast<int>(bottom - top) + 1, static_cast<int>(right - left) + 1});
  }
  return Outside(kept, rows, columns);
}

}  // namespace consilium::privacy
