// From an archive of identified DICOM to cases in the site's store.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_INGEST_H_
#define CONSILIUM_SITE_AGENT_INTAKE_INGEST_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/intake/image_labels.h"
#include "site_agent/intake/label_vocabulary.h"
#include "site_agent/intake/patient_register.h"
#include "site_agent/intake/report_labels.h"
#include "site_agent/intake/study_index.h"

namespace consilium::agent {

// Why files or a series did not become a case. Closed: text for people comes from RejectText.
enum class RejectReason {
  kUnreadable,        // no DICOM, broken or hostile
  kNotAnImage,        // reports, presentation states, plans, DICOMDIR
  kUnsupportedClass,  // an image of a kind that cannot be taken in
  kLocalizer,
  kTooFewSlices,
  kHeldBack,           // the pixels may show identity
  kNotDeidentified,    // an encoding that de-identification does not cover
  kNotAVolume,         // cannot be assembled; the detail says why
  kLabelWithoutImage,  // a label whose series is neither here nor in the store
  kLabelNotReadable,   // a label that does not fit its series; the series stays, unlabelled
  kLabelSurplus,       // a further label of a series that has one, or one of another patient
  kOptedOut,           // the patient has opted out
  kNoConsent,          // the site takes consented patients only
  kForgotten,          // the patient was deleted here
};
const char* RejectName(RejectReason reason);  // "too_few_slices"; stable, for JSON
const char* RejectText(RejectReason reason);  // for people
RejectReason ReasonOf(Withheld withheld);

struct RejectCount {
  int64_t series = 0;
  int64_t files = 0;
  std::map<std::string, int64_t> details;  // words without values, by number of series
};

// Counts only: safe to print, log and send to the site's own people.
struct IngestReport {
  int64_t files_seen = 0;
  int64_t files_skipped = 0;
  bool truncated = false;
  int64_t patients = 0;
  int64_t cases_added = 0;
  int64_t cases_added_labelled = 0;
  int64_t labels_added = 0;  // to cases that were in the store without one
  int64_t already_in_store = 0;
  std::map<RejectReason, RejectCount> rejected;
  privacy::DeidReport deid;
  std::optional<ImageLabelReport> image_labels;  // where there was a table
  // Where the vocabulary has findings: what structured reports said.
  std::optional<ImageLabelReport> report_labels;
  ReportCount reports;
};
// Rows for FormatTable: outcome, series, files, why.
std::vector<std::vector<std::string>> IngestTable(const IngestReport& report);
std::string IngestToJson(const IngestReport& report);

struct IngestOptions {
  IndexOptions index = {};
  int64_t slices_min = 4;
  int64_t volumes_max = 8;  // of one series: echoes, phases, time points; each becomes a case
  LabelVocabulary vocabulary = {};
  // A folder of NIfTI labels, one a series (SERIES-INSTANCE-UID.nii.gz) or a patient
  // (PATIENT-ID.nii.gz, for those series of the patient that it lies on); empty: none.
  std::string nifti_folder = {};
  std::string image_labels = {};  // a CSV file (image_labels.h); empty: none
  privacy::SecondaryImages secondary_images = privacy::SecondaryImages::kHoldBack;
};

// HOME/site.key: 32 random bytes, 0600, made at the first call. FAILED_PRECONDITION: others may
// read it, or it has another length. Losing it means that later files no longer match the store.
absl::StatusOr<privacy::SecretBytes> LoadOrCreateSiteKey(const std::string& home);

// Takes the archive's eligible series into HOME/store. A case appears there whole or not at all;
// what a crash left over is removed at the next call. Doing it twice adds nothing the second time.
// FAILED_PRECONDITION: another ingest of this home is running. NOT_FOUND: as BuildStudyIndex, or no
// folder of NIfTI labels or file of image-level ones. INVALID_ARGUMENT: ParseImageLabels.
// A file or series that does not fit is counted in the report and is never an error; so are those of
// patients who may not be used (patient_register.h), of whom only headers are read.
// What was found is kept too, by pseudonym (findings.h). DATA_LOSS, FAILED_PRECONDITION: as
// PatientRegister::Read.
// Progress counts files twice: once read, once taken in.
absl::StatusOr<IngestReport> Ingest(const std::string& home, const std::vector<std::string>& paths,
                                    const IngestOptions& options, const IntakeProgress& progress,
                                    const std::atomic<bool>* stop);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_INGEST_H_
