// What a structured report states, in codes, about what the images of its study show.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_CODED_FINDINGS_H_
#define CONSILIUM_SITE_AGENT_IMAGING_CODED_FINDINGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::imaging {

struct CodedFinding {
  std::string code;  // scheme designator and value: "SCT:126851005"
  bool present = false;
  friend bool operator==(const CodedFinding&, const CodedFinding&) = default;
};

// Privacy: the study's UID identifies.
struct CodedFindings {
  std::string study_uid;
  std::vector<CodedFinding> findings;  // in the report's order
  int64_t not_plain = 0;               // code items in these places that say more than yes or no
};

// Of one SR document (PS3.3 A.35, C.17.3) that is complete and verified and has its evidence in its
// own study alone. Taken are code items below the root, or below containers "Findings" (DCM
// 121070), "Imaging Measurements" (DCM 126010) and "Measurement Group" (DCM 125007), that nothing
// modifies (no content of their own):
//   "Finding" (DCM 121071) = CODE: CODE is present;
//   CODE = Present or Absent (CID 240), Yes or No (CID 230), as SNOMED CT: CODE is that.
// Nothing else: a history, a differential diagnosis, an impression or free text states no such
// thing. INVALID_ARGUMENT, in words without values: another kind of object or status. NOT_FOUND: no
// file.
absl::StatusOr<CodedFindings> ReadCodedFindings(const std::string& path);

// Whether objects of this class are SR documents.
bool IsReportClass(absl::string_view sop_class_uid);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_CODED_FINDINGS_H_
