#include "site_agent/imaging/coded_findings.h"

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"

namespace consilium::imaging {
namespace {

constexpr absl::string_view kFinding = "DCM:121071";
constexpr absl::string_view kContainers[] = {"DCM:121070", "DCM:126010", "DCM:125007"};
constexpr struct {
  absl::string_view code;
  bool present;
} kQualifiers[] = {{"SCT:52101004", true},     // Present
                   {"SCT:2667000", false},     // Absent
                   {"SCT:373066001", true},    // Yes
                   {"SCT:373067005", false}};  // No
constexpr size_t kFindingsMax = 4096;

// "SCHEME:VALUE" of the one code in a sequence; empty: none.
std::string CodeIn(DcmItem& item, const DcmTagKey& sequence) {
  const std::vector<DcmItem*> codes = SequenceItems(item, sequence);
  if (codes.size() != 1) return "";
  const std::string scheme = Text(*codes[0], DCM_CodingSchemeDesignator);
  const std::string value = Text(*codes[0], DCM_CodeValue);
  return scheme.empty() || value.empty() ? "" : absl::StrCat(scheme, ":", value);
}

std::optional<bool> Qualifier(absl::string_view code) {
  for (const auto& known : kQualifiers) {
    if (known.code == code) return known.present;
  }
  return std::nullopt;
}

void TakeCode(DcmItem& item, CodedFindings& out) {
  const std::string concept_code = CodeIn(item, DCM_ConceptNameCodeSequence);
  const std::string value = CodeIn(item, DCM_ConceptCodeSequence);
  const std::optional<bool> qualifier = Qualifier(value);
  if (concept_code.empty() || value.empty()) return;
  if (concept_code != kFinding && !qualifier) return;  // says something else
  // "Finding = Absent" names nothing; and what is modified is not simply there.
  if ((concept_code == kFinding && qualifier) ||
      !SequenceItems(item, DCM_ContentSequence).empty()) {
    ++out.not_plain;
    return;
  }
  if (out.findings.size() == kFindingsMax) return;
  if (concept_code == kFinding) {
    out.findings.push_back({value, true});
  } else {
    out.findings.push_back({concept_code, *qualifier});
  }
}

void TakeContent(DcmItem& container, CodedFindings& out) {
  for (DcmItem* item : SequenceItems(container, DCM_ContentSequence)) {
    if (Text(*item, DCM_RelationshipType) != "CONTAINS") continue;
    const std::string type = Text(*item, DCM_ValueType);
    if (type == "CODE") TakeCode(*item, out);
    if (type != "CONTAINER") continue;
    const std::string concept_code = CodeIn(*item, DCM_ConceptNameCodeSequence);
    for (const absl::string_view known : kContainers) {
      if (concept_code == known) TakeContent(*item, out);
    }
  }
}

absl::Status CheckDocument(DcmItem& dataset) {
  if (!IsReportClass(Text(dataset, DCM_SOPClassUID))) {
    return absl::InvalidArgumentError("not a structured report");
  }
  if (Text(dataset, DCM_CompletionFlag) != "COMPLETE") {
    return absl::InvalidArgumentError("a report that is not complete");
  }
  if (Text(dataset, DCM_VerificationFlag) != "VERIFIED") {
    return absl::InvalidArgumentError("a report that nobody has verified");
  }
  const std::string study = Text(dataset, DCM_StudyInstanceUID);
  if (study.empty()) return absl::InvalidArgumentError("a report without a study");
  for (const DcmTagKey& evidence :
       {DCM_CurrentRequestedProcedureEvidenceSequence, DCM_PertinentOtherEvidenceSequence}) {
    for (DcmItem* item : SequenceItems(dataset, evidence)) {
      if (Text(*item, DCM_StudyInstanceUID) != study) {
        return absl::InvalidArgumentError("a report on more than its own study");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool IsReportClass(absl::string_view sop_class_uid) {
  return absl::StartsWith(sop_class_uid, "1.2.840.10008.5.1.4.1.1.88.");
}

absl::StatusOr<CodedFindings> ReadCodedFindings(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  CSL_RETURN_IF_ERROR(CheckDocument(*dataset));
  CodedFindings out;
  out.study_uid = Text(*dataset, DCM_StudyInstanceUID);
  TakeContent(*dataset, out);
  return out;
}

}  // namespace consilium::imaging
