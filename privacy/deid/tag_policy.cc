#include "privacy/deid/tag_policy.h"

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcuid.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint32_t kAcquisitionContextSequence = 0x00400555;

// Text attributes in no row of the table that describe the machine, the method or the anatomy, and
// without which an image or a segmentation is invalid or useless. Everything else of a text type
// goes: it is where people write names.
constexpr uint32_t kTextAllowed[] = {
    0x00080070,  // Manufacturer
    0x00080100,  // CodeValue
    0x00080102,  // CodingSchemeDesignator
    0x00080103,  // CodingSchemeVersion
    0x00080104,  // CodeMeaning
    0x00080119,  // LongCodeValue
    0x00081090,  // ManufacturerModelName
    0x00180024,  // SequenceName
    0x00180085,  // ImagedNucleus
    0x00181020,  // SoftwareVersions
    0x00181210,  // ConvolutionKernel
    0x00181250,  // ReceiveCoilName
    0x00181251,  // TransmitCoilName
    0x00189005,  // PulseSequenceName
    0x00209056,  // StackID
    0x00281054,  // RescaleType
    0x00620005,  // SegmentLabel
    0x00620009,  // SegmentAlgorithmName
    0x00660031,  // AlgorithmVersion
    0x00660036,  // AlgorithmName
};

// Type 2 in an object that is covered: the attribute has to stay, so its value goes.
constexpr uint32_t kTextEmptied[] = {
    0x00201040,  // PositionReferenceIndicator
    0x00700081,  // ContentDescription
};

constexpr uint32_t kLookupTables[] = {
    0x00281201,  // RedPaletteColorLookupTableData, green and blue
    0x00281202,
    0x00281203,
    0x00283006,  // LUTData
};

// UIDs of kinds of things.
constexpr uint32_t kClassUidTags[] = {
    0x00080016,  // SOPClassUID
    0x0008001A,  // RelatedGeneralSOPClassUID
    0x0008001B,  // OriginalSpecializedSOPClassUID
    0x0008010C,  // CodingSchemeUID
    0x00080117,  // ContextUID
    0x00080118,  // MappingResourceUID
    0x00081150,  // ReferencedSOPClassUID
    0x0008115A,  // SOPClassesSupported
    0x00083002,  // AvailableTransferSyntaxUID
    0x04000010,  // MACCalculationTransferSyntaxUID
};

constexpr absl::string_view kDefinedTerms[] = {
    "1",        "2",           "2D",          "3D",         "AUTOMATIC", "BINARY",  "CT",
    "DERIVED",  "FFDL",        "FFDR",        "FFP",        "FFS",       "FRACTIONAL", "GR",
    "HFDL",     "HFDR",        "HFP",         "HFS",        "IR",        "LOCALIZER", "M",
    "MANUAL",   "MONOCHROME1", "MONOCHROME2", "MR",         "N",         "ND",      "NO",
    "NONE",     "NORM",        "ORIGINAL",    "P",          "PRIMARY",   "SE",      "SECONDARY",
    "SEG",      "SEMIAUTOMATIC", "SP",        "Y",          "YES",
};

template <typename Range, typename Value>
bool Contains(const Range& range, const Value& value) {
  return std::find(std::begin(range), std::end(range), value) != std::end(range);
}

bool IsText(absl::string_view vr) {
  static constexpr absl::string_view kVrs[] = {"LO", "SH", "ST", "LT", "UT",
                                               "UC", "UR", "AE", "PN", "AS"};
  return Contains(kVrs, vr);
}

bool IsBinaryNumber(absl::string_view vr) {
  static constexpr absl::string_view kVrs[] = {"US", "SS", "UL", "SL", "UV",
                                               "SV", "FL", "FD", "AT"};
  return Contains(kVrs, vr);
}

Action UnlistedText(uint32_t tag) {
  if (Contains(kTextAllowed, tag)) return Action::kScrubText;
  if (Contains(kTextEmptied, tag)) return Action::kEmpty;
  return tag == 0x00620020 ? Action::kMapText /* TrackingID */ : Action::kRemoveUnlisted;
}

Action DateAction(DateOption dates) {
  switch (dates) {
    case DateOption::kModified: return Action::kShiftDate;
    case DateOption::kFull: return Action::kKeepDate;
    case DateOption::kRemove: break;
  }
  return Action::kEmpty;
}

Action UnlistedAction(uint32_t tag, absl::string_view vr, const DeidProfile& profile) {
  if (tag == 0x00080005) return Action::kCharacterSet;
  if (vr == "SQ") return Action::kRecurse;
  if (vr == "UI") return Action::kMapUid;
  if (vr == "DA" || vr == "DT") return DateAction(profile.dates);
  if (vr == "TM") return Action::kKeepTime;
  if (tag == 0x00700080) return Action::kDummy;  // ContentLabel: free text in a code's clothes
  if (vr == "CS") return Action::kScrubCode;
  if (vr == "DS" || vr == "IS") return Action::kKeepNumber;
  if (IsBinaryNumber(vr)) return Action::kKeepBinary;
  if (IsText(vr)) return UnlistedText(tag);
  if (Contains(kLookupTables, tag)) return Action::kCheckBytes;
  return Action::kRemoveUnlisted;  // OB, OW, UN and what the standard may still invent
}

// K of an option: the value stays as far as its VR allows only what the option is about.
Action KeptAction(uint32_t tag, absl::string_view vr, const DeidProfile& profile) {
  if (vr == "UI" || (IsText(vr) && vr != "AS")) return Action::kKeepText;
  if (vr == "AS") return Action::kKeepAge;
  return UnlistedAction(tag, vr, profile);
}

}  // namespace

const TagPolicy& TagPolicy::Get() {
  static const TagPolicy* const policy = [] {
    absl::StatusOr<TagPolicy> parsed = Parse(kTableText);
    CSL_CHECK(parsed.ok());
    return new TagPolicy(*std::move(parsed));
  }();
  return *policy;
}

absl::StatusOr<TagPolicy> TagPolicy::Parse(absl::string_view csv) {
  TagPolicy policy;
  bool heading = true;
  for (absl::string_view line : absl::StrSplit(csv, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> cells = absl::StrSplit(line, ',');
    if (cells.size() != 14) return absl::InvalidArgumentError("table: a row has not 14 cells");
    if (heading) {
      if (cells[0] != "tag" || cells[3] != "basic" || cells[10] != "retain_long_modified_dates") {
        return absl::InvalidArgumentError("table: other columns than expected");
      }
      heading = false;
      continue;
    }
    uint32_t tag = 0;
    // The four patterns (50xx, 60xx, odd groups) are rules in ActionFor.
    if (!absl::SimpleHexAtoi(cells[0], &tag)) continue;
    std::array<char, kOptions> options;
    for (size_t i = 0; i < kOptions; ++i) options[i] = cells[4 + i].empty() ? ' ' : cells[4 + i][0];
    policy.rows_[tag] =
        Row{std::string(cells[2]), std::string(cells[3]), options};
  }
  if (policy.rows_.size() < 500) return absl::InvalidArgumentError("table: rows are missing");
  return policy;
}

Action TagPolicy::ActionFor(uint32_t tag, absl::string_view vr, int depth,
                            const DeidProfile& profile) const {
  const uint32_t group = tag >> 16, element = tag & 0xFFFF;
  if (group % 2 == 1) return Action::kRemovePrivate;
  // The table removes overlay data and comments; an overlay plane without data is invalid.
  if ((group & 0xFF00) == 0x5000 || (group & 0xFF00) == 0x6000) return Action::kRemove;
  if (group < 0x0008 || element == 0 || group >= 0xFFFA) return Action::kRemove;
  if (tag == 0x00100010 || tag == 0x00100020) return Action::kPseudonym;
  // PixelData and its forms in floating point.
  if (tag == 0x7FE00010 || tag == 0x7FE00008 || tag == 0x7FE00009) {
    return depth == 0 ? Action::kPixels : Action::kRemove;
  }
  const auto row = rows_.find(tag);
  return row == rows_.end() ? UnlistedAction(tag, vr, profile)
                            : ListedAction(row->second, tag, vr, profile);
}

Action TagPolicy::ActionForNothingLeft(uint32_t tag, absl::string_view vr) const {
  const auto row = rows_.find(tag);
  return row == rows_.end() ? Action::kRemoveUnlisted : BasicAction(row->second, tag, vr);
}

char TagPolicy::OptionInForce(const Row& row, const DeidProfile& profile) {
  const std::pair<Option, bool> options[] = {
      {kUids, profile.retain_uids},
      {kDevice, profile.retain_device_identity},
      {kInstitution, profile.retain_institution_identity},
      {kPatient, profile.retain_patient_characteristics},
      {kDescriptors, profile.clean_descriptors},
      {kStructured, profile.clean_structured_content},
      {kGraphics, profile.clean_graphics},
  };
  char found = ' ';
  for (const auto& [option, chosen] : options) {
    if (!chosen || row.options[option] == ' ') continue;
    if (found == ' ' || row.options[option] == 'K') found = row.options[option];
  }
  return found;
}

Action TagPolicy::ListedAction(const Row& row, uint32_t tag, absl::string_view vr,
                               const DeidProfile& profile) {
  // Where the file's VR is not the table's (a name as OB, an unknown as UN) nothing in the value can
  // be trusted to be what the rule expects.
  if (vr != row.vr && !(vr == "SQ" && row.basic.find('U') != std::string::npos)) {
    return row.basic.front() == 'X' || vr == "SQ" ? Action::kRemove : Action::kEmpty;
  }
  if (row.options[kModifiedDates] == 'C' && profile.dates != DateOption::kRemove) {
    if (vr == "DA" || vr == "DT") return DateAction(profile.dates);
    if (vr == "TM") return Action::kKeepTime;
  }
  const char option = OptionInForce(row, profile);
  if (option == 'K') return KeptAction(tag, vr, profile);
  if (option == 'C' && vr == "SQ") return Action::kRecurse;
  if (option == 'C' && IsText(vr) && vr != "AE") return Action::kDescriptor;
  return BasicAction(row, tag, vr);
}

Action TagPolicy::BasicAction(const Row& row, uint32_t tag, absl::string_view vr) {
  if (vr == "SQ") {
    if (row.basic == "X/Z/U*" || row.basic == "K") return Action::kRecurse;
    if (row.basic.front() == 'X') {
      return tag == kAcquisitionContextSequence ? Action::kEmpty : Action::kRemove;
    }
    return Action::kEmpty;
  }
  if (row.basic == "X") return Action::kRemove;
  if (row.basic == "U") return Action::kMapUid;
  // Compound codes leave the choice to the attribute's type in its object; the strongest choice
  // that is valid for every type is the dummy, else the empty value.
  if (row.basic.find('D') != std::string::npos) return vr == "UI" ? Action::kMapUid : Action::kDummy;
  return Action::kEmpty;
}

bool KeepsUid(uint32_t tag, absl::string_view uid) {
  // Not what starts like the standard's: anybody can write an identifier behind its root.
  return Contains(kClassUidTags, tag) && uid.find('\0') == absl::string_view::npos &&
         dcmFindNameOfUID(std::string(uid).c_str()) != nullptr;
}

bool IsDefinedTerm(absl::string_view code) { return Contains(kDefinedTerms, code); }

}  // namespace consilium::privacy
