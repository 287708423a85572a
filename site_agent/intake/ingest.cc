#include "site_agent/intake/ingest.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "privacy/crypto/random.h"
#include "privacy/deid/patient_tokens.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/intake/case_store.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/sop_class.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using imaging::DicomHeader;

constexpr size_t kDetailsMax = 32;   // kinds of detail a reason may list
constexpr size_t kSegmentsMax = 255;

// A series or a label that does not become part of the store. Anything else that goes wrong (a full
// disk, a broken store) ends the ingest with a status.
struct Rejection {
  RejectReason reason;
  std::string detail;
};
using Verdict = std::optional<Rejection>;  // empty: taken in

// Words of imaging and deid, which name neither a file nor a value.
std::string Words(const absl::Status& status) { return std::string(status.message()); }

Rejection FromDeid(const absl::Status& status) {
  const std::string detail = Words(status);
  if (absl::IsFailedPrecondition(status)) return {RejectReason::kHeldBack, detail};
  if (absl::IsUnimplemented(status)) return {RejectReason::kNotDeidentified, detail};
  return {RejectReason::kUnreadable, detail};
}

// The disk, not the file: no verdict about the series.
bool IsOurs(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsInternal(status);
}

bool IsLocalizer(const DicomHeader& header) {
  const auto found = header.attributes.find("ImageType");
  return found != header.attributes.end() &&
         std::any_of(found->second.begin(), found->second.end(), [](const std::string& value) {
           return value == "LOCALIZER" || value == "SCOUT";
         });
}

std::vector<wire::PlanLabel> LabelsOf(const std::vector<std::string>& segments) {
  std::vector<wire::PlanLabel> labels;
  std::set<std::string> seen;
  for (const std::string& segment : segments) {
    if (segment.empty() || !seen.insert(absl::AsciiStrToLower(segment)).second) continue;
    labels.push_back({static_cast<int>(labels.size()) + 1, segment, ""});
  }
  return labels;
}

// Takes patients in, one at a time.
class Intake {
 public:
  Intake(const std::string& home, const IngestOptions& options, const CaseStore& store,
         const privacy::Deidentifier& deidentifier, IngestReport& report)
      : home_(home), options_(options), store_(store), deidentifier_(deidentifier),
        report_(report), pool_(std::max(1, options.index.threads)) {}

  absl::Status Take(const IndexedPatient& patient, const std::function<void(int64_t)>& files_done,
                    const std::atomic<bool>* stop) {
    patient_ = &patient;
    tokens_.reset();
    std::map<std::string, std::vector<const DicomHeader*>> labels;
    for (const DicomHeader& seg : patient.segmentations) {
      labels[seg.referenced_series_uid].push_back(&seg);
    }
    for (const IndexedSeries& series : patient.series) {
      if (stop != nullptr && stop->load()) return absl::CancelledError("ingest stopped");
      const auto found = labels.find(series.series_uid);
      const std::vector<const DicomHeader*> own =
          found == labels.end() ? std::vector<const DicomHeader*>() : found->second;
      CSL_RETURN_IF_ERROR(TakeSeries(series, own));
      labels.erase(series.series_uid);
      files_done(static_cast<int64_t>(series.files.size() + own.size()));
    }
    for (const auto& [series_uid, own] : labels) {  // their series came earlier, or never
      CSL_RETURN_IF_ERROR(TakeLabelsAlone(series_uid, own));
      files_done(static_cast<int64_t>(own.size()));
    }
    return absl::OkStatus();
  }

 private:
  using Labels = std::vector<const DicomHeader*>;

  absl::Status TakeSeries(const IndexedSeries& series, const Labels& labels) {
    Verdict verdict = JudgeHeaders(series);
    const std::string case_id = deidentifier_.Pseudonym("series", series.series_uid);
    if (!verdict.has_value()) {
      if (store_.Has(case_id)) {
        ++report_.already_in_store;
        return AddLabelIfMissing(case_id, labels);
      }
      CSL_ASSIGN_OR_RETURN(verdict, BuildCase(case_id, series, labels));
    }
    if (!verdict.has_value()) return absl::OkStatus();
    store_.Abandon(case_id);
    Count(*verdict, 1, static_cast<int64_t>(series.files.size()));
    if (!labels.empty()) {
      Count({RejectReason::kLabelWithoutImage, "its series was rejected"}, 0,
            static_cast<int64_t>(labels.size()));
    }
    return absl::OkStatus();
  }

  Verdict JudgeHeaders(const IndexedSeries& series) const {
    for (const DicomHeader& file : series.files) {
      const SopKind kind = SopKindOf(file.sop_class_uid);
      if (kind == SopKind::kNoImage) return Rejection{RejectReason::kNotAnImage, ""};
      if (kind != SopKind::kVolumeSlice) return Rejection{RejectReason::kUnsupportedClass, ""};
    }
    if (std::all_of(series.files.begin(), series.files.end(), IsLocalizer)) {
      return Rejection{RejectReason::kLocalizer, ""};
    }
    if (static_cast<int64_t>(series.files.size()) < options_.slices_min) {
      return Rejection{RejectReason::kTooFewSlices, ""};
    }
    return std::nullopt;
  }

  absl::StatusOr<Verdict> BuildCase(const std::string& case_id, const IndexedSeries& series,
                                    const Labels& labels) {
    CSL_ASSIGN_OR_RETURN(const std::string stage, store_.Stage(case_id));
    std::vector<std::string> images;
    privacy::DeidReport deid;
    CSL_ASSIGN_OR_RETURN(Verdict verdict, DeidentifyImages(series, stage, images, deid));
    if (verdict.has_value()) return verdict;
    const absl::StatusOr<imaging::AssembledSeries> assembled = imaging::AssembleSeries(images);
    if (!assembled.ok()) {
      return Verdict(Rejection{RejectReason::kNotAVolume, Words(assembled.status())});
    }
    if (static_cast<int64_t>(assembled->slice_paths.size()) < options_.slices_min) {
      return Verdict(Rejection{RejectReason::kTooFewSlices, "after what was set aside"});
    }
    CSL_RETURN_IF_ERROR(KeepOnly(images, assembled->slice_paths));
    CSL_ASSIGN_OR_RETURN(CaseRecord record, Describe(case_id, *assembled));
    CSL_ASSIGN_OR_RETURN(const bool has_label,
                         PlaceLabel(labels, assembled->volume.geometry, stage, record, deid));
    CSL_RETURN_IF_ERROR(Publish(record, stage));
    ++report_.cases_added;
    if (has_label) ++report_.cases_added_labelled;
    report_.deid.Add(deid);
    return Verdict();
  }

  absl::StatusOr<Verdict> DeidentifyImages(const IndexedSeries& series, const std::string& stage,
                                           std::vector<std::string>& images,
                                           privacy::DeidReport& deid) {
    const privacy::PatientTokens& tokens = Tokens();
    std::vector<absl::StatusOr<privacy::DeidReport>> results(series.files.size(),
                                                             absl::UnknownError("not done"));
    for (size_t i = 0; i < series.files.size(); ++i) {
      images.push_back(JoinPath(stage, absl::StrFormat("image/%05d.dcm", i + 1)));
    }
    for (size_t i = 0; i < series.files.size(); ++i) {
      pool_.Schedule([&, i] {
        results[i] = deidentifier_.Deidentify(series.files[i].path, images[i], tokens);
      });
    }
    pool_.Wait();
    for (const auto& result : results) {
      if (!result.ok() && IsOurs(result.status())) return result.status();
      if (!result.ok()) return Verdict(FromDeid(result.status()));
      deid.Add(*result);
    }
    return Verdict();
  }

  // Words of all the patient's files: a name in one file's comment is known from another's header.
  const privacy::PatientTokens& Tokens() {
    if (tokens_.has_value()) return *tokens_;
    tokens_.emplace();
    std::vector<privacy::PatientTokens> by_file(patient_->paths.size());
    for (size_t i = 0; i < by_file.size(); ++i) {
      // A file that cannot be read here cannot be read later either, and is rejected there.
      pool_.Schedule(
          [&, i] { (void)deidentifier_.CollectTokens(patient_->paths[i], by_file[i]); });
    }
    pool_.Wait();
    for (const privacy::PatientTokens& tokens : by_file) tokens_->Merge(tokens);
    return *tokens_;
  }

  static absl::Status KeepOnly(const std::vector<std::string>& images,
                               const std::vector<std::string>& used) {
    const std::set<std::string> keep(used.begin(), used.end());
    for (const std::string& image : images) {
      std::error_code error;
      if (!keep.contains(image)) fs::remove(image, error);
      if (error) return absl::UnavailableError("a file that was set aside cannot be removed");
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<CaseRecord> Describe(const std::string& case_id,
                                             const imaging::AssembledSeries& series) {
    const absl::StatusOr<DicomHeader> header = imaging::ReadDicomHeader(series.slice_paths.front());
    if (!header.ok()) return absl::InternalError("what was written cannot be read back");
    CaseRecord record;
    record.case_id = case_id;
    record.patient = header->patient_id;
    record.modality = header->modality;
    record.attributes = header->attributes;
    record.geometry = series.volume.geometry;
    record.image_files = static_cast<int64_t>(series.slice_paths.size());
    record.table_edition = privacy::kTableEdition;
    return record;
  }

  // Whether the case got a label. The most segments win; equal ones go by UID.
  absl::StatusOr<bool> PlaceLabel(Labels labels, const imaging::Geometry& grid,
                                  const std::string& stage, CaseRecord& record,
                                  privacy::DeidReport& deid) {
    if (labels.empty()) return false;
    std::sort(labels.begin(), labels.end(), [](const DicomHeader* a, const DicomHeader* b) {
      if (a->segment_labels.size() != b->segment_labels.size()) {
        return a->segment_labels.size() > b->segment_labels.size();
      }
      return a->sop_instance_uid < b->sop_instance_uid;
    });
    if (labels.size() > 1) {
      Count({RejectReason::kLabelSurplus, ""}, 0, static_cast<int64_t>(labels.size()) - 1);
    }
    const std::string path = JoinPath(stage, "label/seg.dcm");
    const auto written = deidentifier_.Deidentify(labels.front()->path, path, Tokens());
    if (!written.ok() && IsOurs(written.status())) return written.status();
    absl::Status status = written.status();
    if (status.ok()) {
      deid.Add(*written);
      status = CheckLabel(path, grid, record);
    }
    if (status.ok()) return true;
    std::error_code ignored;
    fs::remove(path, ignored);
    record.segment_labels.clear();
    Count({RejectReason::kLabelNotReadable, Words(status)}, 0, 1);
    return false;
  }

  static absl::Status CheckLabel(const std::string& path, const imaging::Geometry& grid,
                                 CaseRecord& record) {
    CSL_ASSIGN_OR_RETURN(const DicomHeader header, imaging::ReadDicomHeader(path));
    const std::vector<wire::PlanLabel> labels = LabelsOf(header.segment_labels);
    if (labels.empty() || labels.size() > kSegmentsMax) {
      return absl::InvalidArgumentError("no segment has a label, or too many have one");
    }
    CSL_RETURN_IF_ERROR(imaging::ReadSegmentation(path, grid, labels).status());
    for (const wire::PlanLabel& label : labels) record.segment_labels.push_back(label.name);
    return absl::OkStatus();
  }

  absl::Status Publish(const CaseRecord& record, const std::string& stage) const {
    CSL_RETURN_IF_ERROR(
        WriteFileAtomic(JoinPath(stage, "case.json"), CaseToJson(record), kPrivateFile));
    return store_.Publish(record.case_id);
  }

  absl::Status AddLabelIfMissing(const std::string& case_id, const Labels& labels) {
    if (labels.empty() || PathExists(CaseLabelPath(home_, case_id))) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(JoinPath(CaseFolder(home_, case_id), "case.json"), 1 << 20));
    CSL_ASSIGN_OR_RETURN(CaseRecord record, CaseFromJson(text));
    if (CountIfForeign(record, labels)) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> images, CaseImagePaths(home_, case_id));
    CSL_ASSIGN_OR_RETURN(const std::string stage, store_.Stage(case_id));
    privacy::DeidReport deid;
    CSL_ASSIGN_OR_RETURN(const bool has_label,
                         PlaceLabel(labels, record.geometry, stage, record, deid));
    if (!has_label) {
      store_.Abandon(case_id);
      return absl::OkStatus();
    }
    for (const std::string& image : images) {
      std::error_code error;
      fs::create_hard_link(image, JoinPath(JoinPath(stage, "image"), BaseName(image)), error);
      if (error) return absl::UnavailableError("a case's images cannot be carried over");
    }
    CSL_RETURN_IF_ERROR(Publish(record, stage));
    ++report_.labels_added;
    report_.deid.Add(deid);
    return absl::OkStatus();
  }

  absl::Status TakeLabelsAlone(const std::string& series_uid, const Labels& labels) {
    const std::string case_id = deidentifier_.Pseudonym("series", series_uid);
    if (case_id.empty() || !store_.Has(case_id)) {
      Count({RejectReason::kLabelWithoutImage, ""}, 0, static_cast<int64_t>(labels.size()));
      return absl::OkStatus();
    }
    CSL_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(JoinPath(CaseFolder(home_, case_id), "case.json"), 1 << 20));
    CSL_ASSIGN_OR_RETURN(const CaseRecord record, CaseFromJson(text));
    if (CountIfForeign(record, labels)) return absl::OkStatus();
    return AddLabelIfMissing(case_id, labels);
  }

  // Labels of another patient than the case's: dates and references were shifted for somebody else.
  bool CountIfForeign(const CaseRecord& record, const Labels& labels) {
    // The pseudonym of a file without a patient ID is made from its study.
    const DicomHeader& label = *labels.front();
    const std::string& patient = label.patient_id.empty() ? label.study_uid : label.patient_id;
    if (record.patient == deidentifier_.PatientPseudonym(patient)) return false;
    Count({RejectReason::kLabelSurplus, "of another patient"}, 0,
          static_cast<int64_t>(labels.size()));
    return true;
  }

  void Count(const Rejection& rejection, int64_t series, int64_t files) {
    RejectCount& count = report_.rejected[rejection.reason];
    count.series += series;
    count.files += files;
    if (rejection.detail.empty()) return;
    const bool room = count.details.size() < kDetailsMax || count.details.contains(rejection.detail);
    ++count.details[room ? rejection.detail : std::string("other")];
  }

  const std::string& home_;
  const IngestOptions& options_;
  const CaseStore& store_;
  const privacy::Deidentifier& deidentifier_;
  IngestReport& report_;
  ThreadPool pool_;
  const IndexedPatient* patient_ = nullptr;
  std::optional<privacy::PatientTokens> tokens_;
};

}  // namespace

absl::StatusOr<privacy::SecretBytes> LoadOrCreateSiteKey(const std::string& home) {
  const std::string path = JoinPath(home, "site.key");
  if (!PathExists(path)) {
    CSL_RETURN_IF_ERROR(MakeDirs(home));
    CSL_RETURN_IF_ERROR(
        WriteFileAtomic(path, privacy::RandomBytes(privacy::kSiteKeyBytes), kPrivateFile));
  }
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return absl::UnavailableError("site.key cannot be read");
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError("site.key: others may read it; chmod 600");
  }
  CSL_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, privacy::kSiteKeyBytes));
  if (bytes.size() != privacy::kSiteKeyBytes) {
    return absl::FailedPreconditionError("site.key: has not 32 bytes; restore it from a backup");
  }
  return privacy::SecretBytes(bytes);
}

absl::StatusOr<IngestReport> Ingest(const std::string& home, const std::vector<std::string>& paths,
                                    const IngestOptions& options, const IntakeProgress& progress,
                                    const std::atomic<bool>* stop) {
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, LoadOrCreateSiteKey(home));
  privacy::DeidProfile profile;
  profile.secondary_images = options.secondary_images;
  CSL_ASSIGN_OR_RETURN(
      const privacy::Deidentifier deidentifier,
      privacy::Deidentifier::Create({.site_key = std::move(key), .profile = std::move(profile)}));
  CSL_ASSIGN_OR_RETURN(const CaseStore store, CaseStore::Open(home));
  const IntakeProgress reading = [&](int64_t done, int64_t total) {
    if (progress) progress(done, 2 * total);
  };
  CSL_ASSIGN_OR_RETURN(const StudyIndex index,
                       BuildStudyIndex(paths, options.index, reading, stop));
  IngestReport report;
  report.files_seen = index.files_seen;
  report.files_skipped = index.files_skipped;
  report.truncated = index.truncated;
  report.patients = static_cast<int64_t>(index.patients.size());
  if (index.files_unreadable > 0) {
    report.rejected[RejectReason::kUnreadable].files = index.files_unreadable;
  }
  int64_t done = index.files_seen + index.files_unreadable;
  Intake intake(home, options, store, deidentifier, report);
  for (const IndexedPatient& patient : index.patients) {
    const auto files_done = [&](int64_t files) {
      done += files;
      if (progress) progress(done, 2 * index.files_seen);
    };
    CSL_RETURN_IF_ERROR(intake.Take(patient, files_done, stop));
  }
  return report;
}

}  // namespace consilium::agent
