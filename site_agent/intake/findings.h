// What intake found of each series and what became of it, kept so that it can be shown later.
//
// HOME/findings/<patient's pseudonym>.json, one a patient, which goes with the patient. An intake
// that sees images of a series replaces what an earlier one said of it; one that sees labels alone
// replaces what was said of its labels. Of a patient who may not be used nothing but the number of
// series and files is kept.
//
// Privacy: pseudonyms, counts, and words of our own; no value of a header but the modality, and
// that only where it is one of the standard's terms; no file name.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_FINDINGS_H_
#define CONSILIUM_SITE_AGENT_INTAKE_FINDINGS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::agent {

// Why something of a series is not used.
struct FindingNote {
  std::string reason;  // RejectName
  std::string detail;  // in words; may be empty
  int64_t files = 0;
  friend bool operator==(const FindingNote&, const FindingNote&) = default;
};

// One note for each reason and detail, at most kFindingNotesMax; further ones are left out.
void AddNote(std::vector<FindingNote>& notes, FindingNote note);
inline constexpr size_t kFindingNotesMax = 32;

struct SeriesFinding {
  std::string study;                // pseudonym
  std::string modality;             // one of the standard's terms, or "other"
  int64_t files = 0;                // images
  bool is_used = false;             // it became a case, or was one
  std::vector<FindingNote> images;  // why not
  std::vector<FindingNote> labels;  // why a label of it is not used
  friend bool operator==(const SeriesFinding&, const SeriesFinding&) = default;
};

// A value; thread-compatible.
struct PatientFindings {
  std::string patient;                          // pseudonym
  std::map<std::string, SeriesFinding> series;  // by pseudonym, which is the case's id
  std::string withheld;  // RejectName: why the patient may not be used; else ""
  int64_t withheld_series = 0, withheld_files = 0;

  // `seen` in the place of what an earlier intake found; see above.
  void Merge(const PatientFindings& seen);
};

// `modality` if it is a defined term (PS3.3 C.7.3.1.1.1), else "other": what a device wrote there
// by mistake may be anything.
std::string PlainModality(absl::string_view modality);

// Adds `seen` to what is kept of its patient. A file that cannot be read is replaced.
absl::Status KeepFindings(const std::string& home, const PatientFindings& seen);
// Of all patients, by pseudonym; damaged files are left out. None where nothing was kept.
absl::StatusOr<std::vector<PatientFindings>> LoadFindings(const std::string& home);
// Of one. Empty where nothing was kept.
PatientFindings FindingsOf(const std::string& home, absl::string_view patient);
absl::Status RemoveFindings(const std::string& home, absl::string_view patient);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_FINDINGS_H_
