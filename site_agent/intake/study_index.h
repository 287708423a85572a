// What lies in an archive: its DICOM files by patient and series, and which labels belong to which.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_STUDY_INDEX_H_
#define CONSILIUM_SITE_AGENT_INTAKE_STUDY_INDEX_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/imaging/dicom_header.h"

namespace consilium::agent {

// `done` of `total` files; total 0 while unknown. Called from the calling thread.
using IntakeProgress = std::function<void(int64_t done, int64_t total)>;

struct IndexOptions {
  int64_t files_max = 2'000'000;
  int depth_max = 32;  // of folders below a given path
  int threads = 2;
};

// Privacy: identified. Lives in memory only.
struct IndexedSeries {
  std::string series_uid;
  std::vector<imaging::DicomHeader> files;  // by path
};

struct IndexedPatient {
  std::string patient_id;
  std::vector<std::string> paths;         // every DICOM file of the patient, series or not
  std::vector<IndexedSeries> series;      // by series UID; labels not among them
  std::vector<imaging::DicomHeader> segmentations;  // and label maps, RT structure sets
};

// The pseudonym that the patient's files get (Deidentifier::PatientPseudonym): of the patient ID, or of
// the study where there is none. Empty where there is neither.
std::string PseudonymOf(const IndexedPatient& patient, const privacy::Deidentifier& names);

struct StudyIndex {
  std::vector<IndexedPatient> patients;  // by patient ID
  int64_t files_seen = 0;
  int64_t files_unreadable = 0;  // not DICOM, broken or hostile
  int64_t files_skipped = 0;     // symbolic links, sockets and the like: never followed
  bool truncated = false;        // files_max or depth_max cut the walk short
};

// Walks files and folders. NOT_FOUND: a given path does not exist (the message gives its place in
// the list, not its name). CANCELLED: `stop` (may be null) became true.
absl::StatusOr<StudyIndex> BuildStudyIndex(const std::vector<std::string>& paths,
                                           const IndexOptions& options,
                                           const IntakeProgress& progress,
                                           const std::atomic<bool>* stop);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_STUDY_INDEX_H_
