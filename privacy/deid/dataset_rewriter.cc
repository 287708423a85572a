#include "privacy/deid/dataset_rewriter.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "privacy/deid/descriptor_words.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/object_kind.h"
#include "privacy/deid/safe_private.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr const char* kRemoved = "REMOVED";
constexpr size_t kCodeBytesMax = 16;

enum class IdentityKind { kNone, kName, kIdentifier, kPlace };

// Attributes whose values are the patient, the people around or the place. Names (PN) count
// whatever their tag is.
IdentityKind KindOf(uint32_t tag) {
  switch (tag) {
    case 0x00080050:  // AccessionNumber
    case 0x00080094:  // ReferringPhysicianTelephoneNumbers
    case 0x00081010:  // StationName
    case 0x00100020:  // PatientID
    case 0x00100030:  // PatientBirthDate
    case 0x00101000:  // OtherPatientIDs
    case 0x00101050:  // InsurancePlanIdentification
    case 0x00101090:  // MedicalRecordLocator
    case 0x00102154:  // PatientTelephoneNumbers
    case 0x00102155:  // PatientTelecomInformation
    case 0x00120040:  // ClinicalTrialSubjectID
    case 0x00181000:  // DeviceSerialNumber
    case 0x0020000D:  // StudyInstanceUID
    case 0x0020000E:  // SeriesInstanceUID
    case 0x00200010:  // StudyID
    case 0x00380010:  // AdmissionID
    case 0x00400009:  // ScheduledProcedureStepID
    case 0x00400253:  // PerformedProcedureStepID
    case 0x00401001:  // RequestedProcedureID
    case 0x00401103:  // PersonTelephoneNumbers
    case 0x00402010:  // OrderCallbackPhoneNumber
    case 0x00402016:  // PlacerOrderNumberImagingServiceRequest
    case 0x00402017:  // FillerOrderNumberImagingServiceRequest
      return IdentityKind::kIdentifier;
    case 0x00080080:  // InstitutionName
    case 0x00080081:  // InstitutionAddress
    case 0x00080092:  // ReferringPhysicianAddress
    case 0x00100021:  // IssuerOfPatientID
    case 0x00101040:  // PatientAddress
    case 0x00102297:  // ResponsiblePerson, where it is not written as PN
    case 0x00102299:  // ResponsibleOrganization
    case 0x00401102:  // PersonAddress
      return IdentityKind::kPlace;
    case 0x00080090:  // ReferringPhysicianName, PatientName and others, as UN or OB
    case 0x00081050:
    case 0x00081070:
    case 0x00100010:
    case 0x00101001:
    case 0x00101005:
    case 0x00101060:
      return IdentityKind::kName;
    default:
      return IdentityKind::kNone;
  }
}

void CollectFrom(DcmItem& item, PatientTokens& tokens) {
  for (DcmElement* element : ElementsOf(item)) {
    if (element->ident() == EVR_SQ) {
      auto* sequence = static_cast<DcmSequenceOfItems*>(element);
      for (unsigned long i = 0; i < sequence->card(); ++i)
        CollectFrom(*sequence->getItem(i), tokens);
      continue;
    }
    const IdentityKind kind =
        element->ident() == EVR_PN ? IdentityKind::kName : KindOf(TagOf(*element));
    if (kind == IdentityKind::kNone) continue;
    const std::string text = ElementText(*element);
    for (const absl::string_view value : absl::StrSplit(text, '\\', absl::SkipWhitespace())) {
      if (kind == IdentityKind::kName) tokens.AddName(value);
      if (kind == IdentityKind::kIdentifier) tokens.AddIdentifier(value);
      if (kind == IdentityKind::kPlace) tokens.AddPlace(value);
    }
  }
}

}  // namespace

void CollectIdentity(DcmDataset& dataset, PatientTokens& tokens) {
  const std::string charset = TextOf(dataset, DCM_SpecificCharacterSet);
  if (!charset.empty() && charset != "ISO_IR 192" && charset != "ISO_IR 6") {
    // A text that cannot be converted is taken as it is: the words in ASCII still count.
    (void)dataset.convertToUTF8();
  }
  CollectFrom(dataset, tokens);
}

bool MayIdentify(uint32_t tag, absl::string_view vr) {
  return vr == "PN" || tag == 0x00080005 /* SpecificCharacterSet */ ||
         KindOf(tag) != IdentityKind::kNone;
}

std::string PatientPseudonymOf(const IdentityMap& identities, absl::string_view patient_id) {
  const std::string hex = identities.Hex("patient", patient_id, 12);
  return hex.empty() ? "" : absl::StrCat("C", hex);
}

PatientTerms TermsOf(const IdentityMap& identities, DcmDataset& dataset) {
  std::string patient = TextOf(dataset, DCM_PatientID);
  if (patient.empty()) patient = TextOf(dataset, DCM_StudyInstanceUID);
  return {PatientPseudonymOf(identities, patient), identities.DateShiftDays(patient)};
}

absl::Status DatasetRewriter::Rewrite(DcmDataset& dataset, PixelsCleaned pixels) {
  const PatientTerms terms = TermsOf(identities_, dataset);
  CSL_RETURN_IF_ERROR(RewritePart(dataset, terms));
  return Mark(dataset, terms, pixels);
}

absl::Status DatasetRewriter::RewritePart(DcmDataset& part, const PatientTerms& terms) {
  shift_days_ = terms.shift_days;
  CSL_RETURN_IF_ERROR(Clean(part, 0));
  if (needs_conversion_) ascii_only_ = part.convertToUTF8().bad();
  ScrubTexts(part, 0);
  return failed_ ? absl::InvalidArgumentError("an element cannot be rewritten") : absl::OkStatus();
}

absl::Status DatasetRewriter::Clean(DcmItem& item, int depth) {
  const TagPolicy& policy = TagPolicy::Get();
  std::set<uint32_t> blocks;  // private blocks of which something stays
  std::vector<std::pair<uint32_t, DcmElement*>> creators;
  for (DcmElement* element : ElementsOf(item)) {
    const uint32_t tag = TagOf(*element);
    const std::string vr = VrOf(*element);
    Action action = policy.ActionFor(tag, vr, depth, profile_);
    if (action == Action::kRemovePrivate && (tag & 0xFFFF) >= 0x10 && (tag & 0xFFFF) <= 0xFF) {
      creators.emplace_back((tag & 0xFFFF0000) | (tag & 0xFF) << 8, element);
      continue;
    }
    if (action == Action::kRemovePrivate && KeepsPrivate(item, *element)) {
      ++report_.private_kept;
      blocks.insert(tag & 0xFFFFFF00);
      action = vr == "CS"                 ? Action::kScrubCode
               : vr == "DS" || vr == "IS" ? Action::kKeepNumber
                                          : Action::kKeepBinary;
    }
    if (action == Action::kRecurse) {
      if (element->ident() != EVR_SQ) return absl::InvalidArgumentError("a sequence is none");
      auto* sequence = static_cast<DcmSequenceOfItems*>(element);
      for (unsigned long i = 0; i < sequence->card(); ++i) {
        CSL_RETURN_IF_ERROR(Clean(*sequence->getItem(i), depth + 1));
      }
      continue;
    }
    if (Apply(action, *element, depth)) delete item.remove(element);
  }
  for (const auto& [block, creator] : creators) {
    if (blocks.contains(block)) continue;
    ++report_.private_removed;
    delete item.remove(creator);
  }
  return absl::OkStatus();
}

bool DatasetRewriter::KeepsPrivate(DcmItem& item, DcmElement& element) {
  const uint32_t tag = TagOf(element);
  if (!profile_.retain_safe_private || (tag & 0xFFFF) < 0x1000) return false;
  const DcmTagKey creator(static_cast<Uint16>(tag >> 16), static_cast<Uint16>(tag >> 8 & 0xFF));
  return SafePrivate::Get().Allows(TextOf(item, creator), tag, VrOf(element));
}

bool DatasetRewriter::Apply(Action action, DcmElement& element, int depth) {
  switch (action) {
    case Action::kRemove:
      ++report_.removed;
      return true;
    case Action::kRemovePrivate:
      ++report_.private_removed;
      return true;
    case Action::kRemoveUnlisted:
      ++report_.unlisted_removed;
      return true;
    case Action::kEmpty:
      Empty(element);
      return false;
    case Action::kDummy:
      return Dummy(element);
    case Action::kMapUid:
      MapUids(element);
      return false;
    case Action::kPseudonym:
      ++report_.replaced;
      // At the top Rewrite() sets it; inside a sequence it may be another patient's.
      if (depth == 0) return true;
      Set(element, PatientPseudonymOf(identities_, ElementText(element)));
      return false;
    case Action::kCheckBytes: {
      Uint16* words = nullptr;
      const bool readable = element.getUint16Array(words).good() && words != nullptr;
      if (readable && !tokens_.HitsBytes(absl::string_view(reinterpret_cast<const char*>(words),
                                                           element.getLength()))) {
        return false;
      }
      ++report_.unlisted_removed;
      return true;
    }
    case Action::kRecurse:
    case Action::kKeepBinary:
    case Action::kCharacterSet:
    case Action::kPixels:
    case Action::kKeepText:
      return false;
    default:
      return ApplyText(action, element);
  }
}

bool DatasetRewriter::ApplyText(Action action, DcmElement& element) {
  switch (action) {
    case Action::kShiftDate:
      return Transform(element, &DatasetRewriter::Shifted);
    case Action::kKeepTime:
      return Transform(element, &DatasetRewriter::Time);
    case Action::kScrubCode:
      return Transform(element, &DatasetRewriter::Code);
    case Action::kKeepNumber:
      return Transform(element, &DatasetRewriter::Number);
    case Action::kKeepDate:
      return Transform(element, &DatasetRewriter::Date);
    case Action::kKeepAge:
      return Transform(element, &DatasetRewriter::Age);
    case Action::kScrubText:
    case Action::kDescriptor:
      needs_conversion_ = needs_conversion_ || !IsAscii(ElementText(element));
      return false;
    case Action::kMapText: {
      const std::string text = ElementText(element);
      if (text.empty()) return false;
      ++report_.replaced;
      Set(element, absl::StrCat("T", identities_.Hex("text", text, 12)));
      return false;
    }
    default:
      return true;  // an action that nobody wrote code for removes
  }
}

void DatasetRewriter::Empty(DcmElement& element) {
  if (element.getLength() == 0) return;
  ++report_.emptied;
  if (element.ident() == EVR_SQ) {
    auto& sequence = static_cast<DcmSequenceOfItems&>(element);
    while (sequence.card() > 0) delete sequence.remove(sequence.card() - 1);
    return;
  }
  if (element.clear().bad()) failed_ = true;
}

bool DatasetRewriter::Dummy(DcmElement& element) {
  const std::string vr = VrOf(element);
  // An absent value tells nothing and was allowed to be absent.
  if (element.getLength() == 0) return false;
  ++report_.replaced;
  if (vr == "DS" || vr == "IS") {
    Set(element, "0");
  } else if (vr == "AS") {
    Set(element, "000Y");
  } else if (vr == "DA" || vr == "DT") {
    Set(element, "19000101");
  } else if (vr == "TM") {
    Set(element, "000000");
  } else if (TagOf(element) == 0x00700080) {
    Set(element, "SEGMENTATION");
  } else if (element.isaString() && vr != "UI" && vr != "UR") {
    Set(element, kRemoved);
  } else {
    return true;
  }
  return false;
}

void DatasetRewriter::MapUids(DcmElement& element) {
  const std::string text = ElementText(element);
  if (text.empty()) return;
  std::vector<std::string> mapped;
  for (const absl::string_view raw : absl::StrSplit(text, '\\')) {
    const absl::string_view uid = absl::StripAsciiWhitespace(raw);
    if (uid.empty() || KeepsUid(TagOf(element), uid)) {
      mapped.emplace_back(uid);
    } else {
      mapped.push_back(identities_.Uid(uid));
      ++report_.uids_mapped;
    }
  }
  Set(element, absl::StrJoin(mapped, "\\"));
}

// Value by value; values that become empty stay as empty places, so that the others keep theirs.
bool DatasetRewriter::Transform(DcmElement& element,
                                std::string (DatasetRewriter::*by_value)(absl::string_view)) {
  const std::string text = ElementText(element);
  if (text.empty()) return false;
  std::vector<std::string> values;
  bool any = false;
  for (const absl::string_view raw : absl::StrSplit(text, '\\')) {
    values.push_back((this->*by_value)(absl::StripAsciiWhitespace(raw)));
    any = any || !values.back().empty();
  }
  const std::string after = any ? absl::StrJoin(values, "\\") : "";
  if (after != text) Set(element, after);
  return false;
}

std::string DatasetRewriter::Shifted(absl::string_view value) {
  ++report_.dates_shifted;
  return ShiftDate(value, shift_days_);
}

std::string DatasetRewriter::Time(absl::string_view value) { return KeepTime(value); }

std::string DatasetRewriter::Date(absl::string_view value) { return ShiftDate(value, 0); }

std::string DatasetRewriter::Age(absl::string_view value) {
  constexpr int kYearsMax = 89;  // 45 CFR 164.514(b)(2)(i)(C): all above are one category
  int age = 0;
  if (value.size() != 4 || !absl::SimpleAtoi(value.substr(0, 3), &age) || age < 0 ||
      absl::string_view("DWMY").find(value[3]) == absl::string_view::npos) {
    return "";
  }
  return value[3] == 'Y' && age > kYearsMax ? "090Y" : std::string(value);
}

std::string DatasetRewriter::Code(absl::string_view value) {
  if (IsDefinedTerm(value)) return std::string(value);
  const bool is_code =
      value.size() <= kCodeBytesMax && std::all_of(value.begin(), value.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == ' ' || c == '_';
      });
  if (is_code && !tokens_.Hits(value)) return std::string(value);
  ++report_.texts_scrubbed;
  return "";
}

std::string DatasetRewriter::Number(absl::string_view value) {
  double number = 0;
  // SimpleAtod also reads "nan" and "inf", which are no numbers here, and longer text than DS has.
  const bool is_number = value.size() <= 24 && absl::SimpleAtod(value, &number) &&
                         value.find_first_not_of("0123456789+-.eE") == absl::string_view::npos;
  constexpr size_t kIdentifyingBytesMin = 6;  // a shorter number is on too many pictures
  if (is_number && (value.size() < kIdentifyingBytesMin || !tokens_.IsToken(value))) {
    return std::string(value);
  }
  if (!value.empty()) ++report_.texts_scrubbed;
  return "";
}

void DatasetRewriter::ScrubTexts(DcmItem& item, int depth) {
  for (DcmElement* element : ElementsOf(item)) {
    if (element->ident() == EVR_SQ) {
      auto* sequence = static_cast<DcmSequenceOfItems*>(element);
      for (unsigned long i = 0; i < sequence->card(); ++i) {
        ScrubTexts(*sequence->getItem(i), depth + 1);
      }
      continue;
    }
    const Action action =
        TagPolicy::Get().ActionFor(TagOf(*element), VrOf(*element), depth, profile_);
    if (action == Action::kCharacterSet || ScrubText(action, *element, depth)) {
      delete item.remove(element);
    }
  }
}

bool DatasetRewriter::ScrubText(Action action, DcmElement& element, int depth) {
  if (action != Action::kScrubText && action != Action::kDescriptor) return false;
  const std::string text = ElementText(element);
  if (text.empty()) return false;
  const bool unreadable = text.find('\0') != std::string::npos || (ascii_only_ && !IsAscii(text));
  std::string kept;
  if (!unreadable) {
    kept = action == Action::kDescriptor ? CleanDescriptor(text, profile_.vocabulary, tokens_)
                                         : tokens_.Scrub(text);
  }
  if (kept == text) return false;
  ++report_.texts_scrubbed;
  if (kept.empty() && action == Action::kDescriptor) {
    return Apply(TagPolicy::Get().ActionForNothingLeft(TagOf(element), VrOf(element)), element,
                 depth);
  }
  Set(element, kept.empty() ? kRemoved : kept);
  return false;
}

void DatasetRewriter::Set(DcmElement& element, const std::string& value) {
  if (element.putString(value.c_str()).bad()) failed_ = true;
}

absl::Status DatasetRewriter::Mark(DcmDataset& dataset, const PatientTerms& terms,
                                   PixelsCleaned pixels) {
  const char* const temporal = profile_.dates == DateOption::kModified ? "MODIFIED"
                               : profile_.dates == DateOption::kFull   ? "UNMODIFIED"
                                                                       : "REMOVED";
  bool good =
      dataset.putAndInsertString(DCM_PatientID, terms.pseudonym.c_str()).good() &&
      dataset.putAndInsertString(DCM_PatientName, terms.pseudonym.c_str()).good() &&
      dataset.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 192").good() &&
      dataset.putAndInsertString(DCM_PatientIdentityRemoved, "YES").good() &&
      dataset.putAndInsertString(DCM_DeidentificationMethod, kTableEdition).good() &&
      dataset.putAndInsertString(DCM_LongitudinalTemporalInformationModified, temporal).good();
  // The table removes it; reports have to have it (type 2).
  if (good && KindOfObject(TextOf(dataset, DCM_SOPClassUID)) == ObjectKind::kReport) {
    good = dataset.insertEmptyElement(DCM_ReferencedPerformedProcedureStepSequence).good();
  }
  if (good && pixels == PixelsCleaned::kYes) {
    good = dataset.putAndInsertString(DCM_BurnedInAnnotation, "NO").good();
  }
  delete dataset.remove(DCM_DeidentificationMethodCodeSequence);
  signed long number = 0;
  for (const MethodCode& method : MethodCodes(profile_, pixels)) {
    DcmItem* item = nullptr;
    good = good &&
           dataset.findOrCreateSequenceItem(DCM_DeidentificationMethodCodeSequence, item, number++)
               .good() &&
           item->putAndInsertString(DCM_CodeValue, method.code).good() &&
           item->putAndInsertString(DCM_CodingSchemeDesignator, "DCM").good() &&
           item->putAndInsertString(DCM_CodeMeaning, method.meaning).good();
  }
  return good ? absl::OkStatus() : absl::InternalError("the markers cannot be written");
}

}  // namespace consilium::privacy
