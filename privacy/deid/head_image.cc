#include "privacy/deid/head_image.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/deid/element_text.h"

namespace consilium::privacy {
namespace {

constexpr double kVoxelMmMax = 2;

enum class Part { kUnknown, kOther, kHead };

// In BodyPartExamined (PS3.16 Annex L), as a part of its value: HEADNECK, WHOLEBODY.
constexpr absl::string_view kHeadTerms[] = {
    "HEAD", "BRAIN",   "SKULL",    "FACE", "NECK", "WHOLEBODY", "SINUS",     "ORBIT", "EYE",
    "NOSE", "MAXILLA", "MANDIBLE", "JAW",  "TMJ",  "IAC",       "PITUITARY", "CEREB", "CRANI"};
// Of AnatomicRegionSequence (CID 4): head, head and neck, brain, face, skull, neck, entire body; in
// SNOMED CT and in the codes of before.
constexpr absl::string_view kHeadCodes[] = {
    "69536005", "774007",  "12738006", "89545001", "89546000", "45048000", "38266002",
    "T-D1100",  "T-D1000", "T-A0100",  "T-D1200",  "T-11100",  "T-D1600",  "T-D0010"};
// In descriptions, as whole words; prefixes where they end in '*'.
constexpr absl::string_view kHeadWords[] = {"head",   "brain*", "skull",   "face",     "facial",
                                            "cran*",  "neuro*", "cereb*",  "enceph*",  "orbit*",
                                            "sinus*", "neck",   "kopf",    "schaedel", "hirn",
                                            "gehirn", "tete",   "cerveau", "stroke",   "pituitary"};
constexpr absl::string_view kOtherWords[] = {
    "chest",  "thorax",   "lung",    "lungs", "abdomen",  "abdominal", "abd",     "pelvis",
    "pelvic", "liver",    "kidney*", "renal", "pancrea*", "prostate",  "breast*", "cardiac",
    "heart",  "coronary", "aorta",   "spine", "lumbar",   "thoracic",  "knee",    "hip",
    "hips",   "shoulder", "elbow",   "wrist", "hand",     "ankle",     "foot",    "femur",
    "tibia",  "leg",      "legs",    "arm",   "colon"};

template <size_t N>
bool HasWord(const absl::string_view (&words)[N], const std::vector<std::string>& text) {
  return std::any_of(std::begin(words), std::end(words), [&](absl::string_view word) {
    const bool begins = absl::EndsWith(word, "*");
    if (begins) word.remove_suffix(1);
    return std::any_of(text.begin(), text.end(), [&](const std::string& there) {
      return begins ? absl::StartsWith(there, word) : there == word;
    });
  });
}

Part PartOfTerm(DcmDataset& header) {
  const std::string term = absl::AsciiStrToUpper(TextOf(header, DCM_BodyPartExamined));
  if (term.empty()) return Part::kUnknown;
  const bool head =
      std::any_of(std::begin(kHeadTerms), std::end(kHeadTerms),
                  [&](absl::string_view part) { return absl::StrContains(term, part); });
  return head ? Part::kHead : Part::kOther;
}

Part PartOfCode(DcmDataset& header) {
  DcmItem* region = nullptr;
  if (header.findAndGetSequenceItem(DCM_AnatomicRegionSequence, region).bad() ||
      region == nullptr) {
    return Part::kUnknown;
  }
  const std::string code = TextOf(*region, DCM_CodeValue);
  if (code.empty()) return Part::kUnknown;
  return std::find(std::begin(kHeadCodes), std::end(kHeadCodes), code) != std::end(kHeadCodes)
             ? Part::kHead
             : Part::kOther;
}

Part PartOfWords(DcmDataset& header) {
  std::string text;
  for (const DcmTagKey& key : {DCM_StudyDescription, DCM_SeriesDescription, DCM_ProtocolName}) {
    absl::StrAppend(&text, TextOf(header, key), " ");
  }
  for (char& c : text) {
    c = absl::ascii_isalpha(static_cast<unsigned char>(c))
            ? absl::ascii_tolower(static_cast<unsigned char>(c))
            : ' ';
  }
  const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  if (HasWord(kHeadWords, words)) return Part::kHead;
  return HasWord(kOtherWords, words) ? Part::kOther : Part::kUnknown;
}

// Where the voxels' size may stand: the data set itself, or the functional groups of enhanced
// images.
std::vector<DcmItem*> MeasuresOf(DcmDataset& header) {
  std::vector<DcmItem*> places = {&header};
  for (const DcmTagKey& groups :
       {DCM_SharedFunctionalGroupsSequence, DCM_PerFrameFunctionalGroupsSequence}) {
    DcmItem *group = nullptr, *measures = nullptr;
    if (header.findAndGetSequenceItem(groups, group).good() && group != nullptr &&
        group->findAndGetSequenceItem(DCM_PixelMeasuresSequence, measures).good() &&
        measures != nullptr) {
      places.push_back(measures);
    }
  }
  return places;
}

bool HasFineVoxels(DcmDataset& header) {
  double step_mm = HUGE_VAL, widest_mm = 0;
  for (DcmItem* const place : MeasuresOf(header)) {
    const std::string spacing = TextOf(*place, DCM_PixelSpacing);
    double mm = 0;
    for (const absl::string_view text : absl::StrSplit(spacing, '\\')) {
      if (absl::SimpleAtod(text, &mm)) widest_mm = std::max(widest_mm, mm);
    }
    // Slices may overlap.
    for (const DcmTagKey& key : {DCM_SliceThickness, DCM_SpacingBetweenSlices}) {
      if (absl::SimpleAtod(TextOf(*place, key), &mm) && mm != 0) {
        step_mm = std::min(step_mm, std::abs(mm));
      }
    }
  }
  return widest_mm < kVoxelMmMax && (step_mm < kVoxelMmMax || step_mm == HUGE_VAL);
}

}  // namespace

const char* FaceRisk(DcmDataset& header) {
  if (!HasFineVoxels(header)) return nullptr;
  switch (std::max({PartOfTerm(header), PartOfCode(header), PartOfWords(header)})) {
    case Part::kHead:
      return "a head from which a face could be rendered";
    case Part::kUnknown:
      return "fine voxels of a part of the body that the file does not name";
    case Part::kOther:
      break;
  }
  return nullptr;
}

bool DecidesAboutFace(uint32_t tag) {
  switch (tag) {
    case 0x00081030:  // StudyDescription
    case 0x0008103E:  // SeriesDescription
    case 0x00082218:  // AnatomicRegionSequence
    case 0x00180015:  // BodyPartExamined
    case 0x00180050:  // SliceThickness
    case 0x00180088:  // SpacingBetweenSlices
    case 0x00181030:  // ProtocolName
    case 0x00280030:  // PixelSpacing
    case 0x52009229:  // SharedFunctionalGroupsSequence
    case 0x52009230:  // PerFrameFunctionalGroupsSequence
      return true;
    default:
      return false;
  }
}

}  // namespace consilium::privacy
