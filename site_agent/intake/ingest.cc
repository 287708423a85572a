#include "site_agent/intake/ingest.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "privacy/deid/patient_tokens.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/intake/case_store.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/findings.h"
#include "site_agent/intake/home_key.h"
#include "site_agent/intake/label_source.h"
#include "site_agent/intake/nifti_folder.h"
#include "site_agent/intake/patient_register.h"
#include "site_agent/intake/sop_class.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using imaging::DicomHeader;

constexpr size_t kDetailsMax = 32;   // kinds of detail a reason may list

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

// Labels that reference no image fit any volume of their series.
bool References(const DicomHeader& label, const imaging::AssembledSeries& series,
                const privacy::Deidentifier& deidentifier) {
  if (label.referenced_instance_uids.empty()) return true;
  const std::set<std::string> images(series.slice_uids.begin(), series.slice_uids.end());
  return std::any_of(
      label.referenced_instance_uids.begin(), label.referenced_instance_uids.end(),
      [&](const std::string& uid) { return images.contains(deidentifier.MapUid(uid)); });
}

// Takes patients in, one at a time.
class Intake {
 public:
  Intake(const std::string& home, const IngestOptions& options, const CaseStore& store,
         const privacy::Deidentifier& deidentifier,
         const std::map<std::string, std::string>& nifti_labels, RegisterView& patients,
         IngestReport& report)
      : home_(home),
        options_(options),
        store_(store),
        deidentifier_(deidentifier),
        nifti_labels_(nifti_labels),
        patients_(patients),
        report_(report),
        pool_(std::max(1, options.index.threads)) {}

  absl::Status Take(const IndexedPatient& patient, const std::function<void(int64_t)>& files_done,
                    const std::atomic<bool>* stop) {
    patient_ = &patient;
    tokens_.reset();
    findings_ = PatientFindings();
    findings_.patient = PseudonymOf(patient, deidentifier_);
    finding_ = nullptr;
    CSL_ASSIGN_OR_RETURN(const std::optional<Withheld> withheld,
                         patients_.Objection(findings_.patient));
    if (withheld.has_value()) return Withhold(*withheld, files_done);
    patient_nifti_ = NiftiOfPatient();
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
    finding_ = nullptr;
    if (patient_nifti_.has_value() && !patient_nifti_->is_used) {
      Count({RejectReason::kLabelNotReadable, patient_nifti_->words}, 0, 1);
    }
    return KeepFindings(home_, findings_);
  }

 private:
  using Labels = std::vector<const DicomHeader*>;

  // A label for whichever series of the patient it lies on.
  struct PatientNifti {
    std::string path;
    bool is_used = false;
    std::string words = "no series of its patient was taken in";
  };

  std::optional<PatientNifti> NiftiOfPatient() const {
    const auto found = nifti_labels_.find(patient_->patient_id);
    if (patient_->patient_id.empty() || found == nifti_labels_.end()) return std::nullopt;
    return PatientNifti{found->second};
  }

  // Nothing of the files is read beyond the headers that named the patient.
  absl::Status Withhold(Withheld why, const std::function<void(int64_t)>& files_done) {
    const auto series = static_cast<int64_t>(patient_->series.size());
    const auto files = static_cast<int64_t>(patient_->paths.size());
    Count({ReasonOf(why), ""}, series, files);
    files_done(files);
    if (why == Withheld::kForgotten) return absl::OkStatus();
    findings_.withheld = RejectName(ReasonOf(why));
    findings_.withheld_series = series;
    findings_.withheld_files = files;
    return KeepFindings(home_, findings_);
  }

  // What is counted from now on is of this series; `images` 0: only labels of it are here.
  void BeginFinding(const std::string& series_uid, const DicomHeader& any, size_t images) {
    finding_ = &findings_.series[deidentifier_.Pseudonym("series", series_uid)];
    finding_->study = deidentifier_.Pseudonym("study", any.study_uid);
    finding_->modality = PlainModality(any.modality);
    finding_->files = static_cast<int64_t>(images);
  }

  absl::Status TakeSeries(const IndexedSeries& series, const Labels& labels) {
    BeginFinding(series.series_uid, series.files.front(), series.files.size());
    Verdict verdict = JudgeHeaders(series);
    const std::string case_id = deidentifier_.Pseudonym("series", series.series_uid);
    if (!verdict.has_value()) {
      if (store_.Has(case_id)) {
        ++report_.already_in_store;
        finding_->is_used = true;
        return AddLabelIfMissing(case_id, series.series_uid, labels);
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
    bool is_multi_frame = false;
    for (const DicomHeader& file : series.files) {
      const SopKind kind = SopKindOf(file.sop_class_uid);
      if (kind == SopKind::kNoImage) return Rejection{RejectReason::kNotAnImage, ""};
      if (kind == SopKind::kOtherImage) return Rejection{RejectReason::kUnsupportedClass, ""};
      is_multi_frame |= kind == SopKind::kMultiFrame;
    }
    if (std::all_of(series.files.begin(), series.files.end(), IsLocalizer)) {
      return Rejection{RejectReason::kLocalizer, ""};
    }
    if (!is_multi_frame && static_cast<int64_t>(series.files.size()) < options_.slices_min) {
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
    absl::StatusOr<std::vector<imaging::SortedVolume>> volumes = imaging::SortSeries(images);
    if (!volumes.ok()) return Verdict(Rejection{RejectReason::kNotAVolume, Words(volumes.status())});
    std::erase_if(*volumes, [&](const imaging::SortedVolume& volume) {
      return static_cast<int64_t>(volume.ordered.size()) < options_.slices_min;
    });
    if (volumes->empty()) {
      return Verdict(Rejection{RejectReason::kTooFewSlices, "after what was set aside"});
    }
    if (static_cast<int64_t>(volumes->size()) > options_.volumes_max) {
      return Verdict(Rejection{
          RejectReason::kNotAVolume,
          absl::StrCat("more than ", options_.volumes_max, " volumes in one series")});
    }
    // All are decoded once before any becomes a case; the voxels are not needed here.
    std::vector<imaging::AssembledSeries> readable;
    for (const imaging::SortedVolume& volume : *volumes) {
      absl::StatusOr<imaging::AssembledSeries> read = imaging::ReadVolume(volume);
      if (!read.ok()) return Verdict(Rejection{RejectReason::kNotAVolume, Words(read.status())});
      read->volume.voxels = {};
      readable.push_back(*std::move(read));
    }
    report_.deid.Add(deid);
    finding_->is_used = true;
    CSL_RETURN_IF_ERROR(TakeVolumes(case_id, series.series_uid, readable, labels));
    return Verdict();
  }

  // Makes a case of each volume whose images lie in the stage of `case_id`. The first has the series'
  // own id and is published last, so that a series whose id is in the store is there as a whole.
  absl::Status TakeVolumes(const std::string& case_id, const std::string& series_uid,
                           const std::vector<imaging::AssembledSeries>& volumes,
                           const Labels& labels) {
    std::vector<Labels> own(volumes.size());
    for (const DicomHeader* label : labels) {
      size_t home = 0;
      while (volumes.size() > 1 && home < volumes.size() &&
             !References(*label, volumes[home], deidentifier_)) {
        ++home;
      }
      if (home < volumes.size()) {
        own[home].push_back(label);
      } else {
        Count({RejectReason::kLabelNotReadable, "it references no image of the series"}, 0, 1);
      }
    }
    for (size_t i = volumes.size(); i-- > 0;) {
      const imaging::AssembledSeries& volume = volumes[i];
      std::string id = case_id, stage = store_.StagePath(case_id);
      if (i > 0) {
        id = deidentifier_.Pseudonym("series", absl::StrCat(series_uid, "\n", volume.report.part));
        CSL_ASSIGN_OR_RETURN(stage, store_.Stage(id));
        CSL_RETURN_IF_ERROR(LinkImages(volume.slice_paths, stage));
      } else {
        CSL_RETURN_IF_ERROR(KeepOnly(stage, volume.slice_paths));
      }
      CSL_ASSIGN_OR_RETURN(CaseRecord record, Describe(id, volume));
      CSL_ASSIGN_OR_RETURN(const bool has_label,
                           FindLabel(own[i], series_uid, volume, stage, record));
      CSL_RETURN_IF_ERROR(Publish(record, stage));
      ++report_.cases_added;
      if (has_label) ++report_.cases_added_labelled;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Verdict> DeidentifyImages(const IndexedSeries& series, const std::string& stage,
                                           std::vector<std::string>& images,
                                           privacy::DeidReport& deid) {
    const privacy::PatientTokens& tokens = Tokens();
    privacy::HeaderMemo memo;
    std::vector<absl::StatusOr<privacy::DeidReport>> results(series.files.size(),
                                                             absl::UnknownError("not done"));
    for (size_t i = 0; i < series.files.size(); ++i) {
      images.push_back(JoinPath(stage, absl::StrFormat("image/%05d.dcm", i + 1)));
    }
    for (size_t i = 0; i < series.files.size(); ++i) {
      pool_.Schedule([&, i] {
        results[i] = deidentifier_.Deidentify(series.files[i].path, images[i], tokens, &memo);
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
    tokens_ = deidentifier_.CollectTokens(patient_->paths, pool_);
    return *tokens_;
  }

  static absl::Status KeepOnly(const std::string& stage, const std::vector<std::string>& used) {
    const std::set<std::string> keep(used.begin(), used.end());
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(JoinPath(stage, "image"), error)) {
      if (!keep.contains(entry.path().string())) fs::remove(entry.path(), error);
      if (error) break;
    }
    if (error) return absl::UnavailableError("a file that was set aside cannot be removed");
    return absl::OkStatus();
  }

  // A multi-frame file may hold several volumes, and several slices of one.
  static absl::Status LinkImages(const std::vector<std::string>& images, const std::string& stage) {
    for (const std::string& image : std::set<std::string>(images.begin(), images.end())) {
      std::error_code error;
      fs::create_hard_link(image, JoinPath(JoinPath(stage, "image"), BaseName(image)), error);
      if (error) return absl::UnavailableError("a case's images cannot be carried over");
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
    record.study = header->study_uid;
    record.series = header->series_uid;
    record.frame_of_reference = series.frame_of_reference_uid;
    record.modality = header->modality;
    record.attributes = header->attributes;
    record.geometry = series.volume.geometry;
    record.image_files = static_cast<int64_t>(
        std::set<std::string>(series.slice_paths.begin(), series.slice_paths.end()).size());
    record.assembly = series.report;
    record.table_edition = privacy::kTableEdition;
    if (record.modality == "PT") {
      // Of what de-identification has left: no more is known to the store.
      CSL_ASSIGN_OR_RETURN(record.pet, imaging::ReadPetFacts(series.slice_paths));
    }
    return record;
  }

  // What may label the series, the best first: what people named for the series or its patient, then
  // the most segments; equal ones go by UID.
  std::vector<LabelSource> Candidates(Labels labels, const std::string& series_uid) const {
    std::vector<LabelSource> candidates;
    if (const auto found = nifti_labels_.find(series_uid); found != nifti_labels_.end()) {
      candidates.push_back({found->second, ""});
    }
    if (patient_nifti_.has_value()) candidates.push_back({patient_nifti_->path, ""});
    std::sort(labels.begin(), labels.end(), [](const DicomHeader* a, const DicomHeader* b) {
      if (a->segment_labels.size() != b->segment_labels.size()) {
        return a->segment_labels.size() > b->segment_labels.size();
      }
      return a->sop_instance_uid < b->sop_instance_uid;
    });
    for (const DicomHeader* label : labels) candidates.push_back({label->path, label->sop_class_uid});
    return candidates;
  }

  // Whether the case got a label: the first candidate that fits. The others are counted.
  absl::StatusOr<bool> FindLabel(const Labels& labels, const std::string& series_uid,
                                 const imaging::AssembledSeries& series, const std::string& stage,
                                 CaseRecord& record) {
    const std::vector<LabelSource> candidates = Candidates(labels, series_uid);
    const std::string path = JoinPath(stage, "label/seg.dcm");
    for (size_t i = 0; i < candidates.size(); ++i) {
      const bool of_patient =
          patient_nifti_.has_value() && candidates[i].path == patient_nifti_->path;
      const absl::StatusOr<privacy::DeidReport> placed =
          PlaceLabel(candidates[i], series, {deidentifier_, Tokens(), options_.vocabulary}, path,
                     record);
      if (placed.ok()) {
        report_.deid.Add(*placed);
        if (of_patient) patient_nifti_->is_used = true;
        const auto left = static_cast<int64_t>(candidates.size() - i - 1);
        if (left > 0) Count({RejectReason::kLabelSurplus, ""}, 0, left);
        return true;
      }
      if (IsOurs(placed.status())) return placed.status();
      std::error_code ignored;
      fs::remove(path, ignored);
      if (of_patient) {
        patient_nifti_->words = Words(placed.status());
      } else {
        Count({RejectReason::kLabelNotReadable, Words(placed.status())}, 0, 1);
      }
    }
    return false;
  }

  absl::Status Publish(const CaseRecord& record, const std::string& stage) const {
    CSL_RETURN_IF_ERROR(
        WriteFileAtomic(JoinPath(stage, "case.json"), CaseToJson(record), kPrivateFile));
    return store_.Publish(record.case_id);
  }

  absl::Status AddLabelIfMissing(const std::string& case_id, const std::string& series_uid,
                                 const Labels& labels) {
    const bool has_nifti = nifti_labels_.contains(series_uid) || patient_nifti_.has_value();
    if (PathExists(CaseLabelPath(home_, case_id))) {
      if (patient_nifti_.has_value()) patient_nifti_->is_used = true;  // as at the first time
      return absl::OkStatus();
    }
    if (labels.empty() && !has_nifti) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(JoinPath(CaseFolder(home_, case_id), "case.json"), 1 << 20));
    CSL_ASSIGN_OR_RETURN(CaseRecord record, CaseFromJson(text));
    if (!labels.empty() && CountIfForeign(record, labels)) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> images, CaseImagePaths(home_, case_id));
    CSL_ASSIGN_OR_RETURN(imaging::AssembledSeries series,
                         imaging::AssembleSeries(images, record.assembly.part));
    series.volume.voxels = {};
    Labels own;
    for (const DicomHeader* label : labels) {
      if (record.assembly.part.empty() || References(*label, series, deidentifier_)) {
        own.push_back(label);
      } else {
        Count({RejectReason::kLabelSurplus, "of another volume of its series"}, 0, 1);
      }
    }
    CSL_ASSIGN_OR_RETURN(const std::string stage, store_.Stage(case_id));
    CSL_ASSIGN_OR_RETURN(const bool has_label,
                         FindLabel(own, series_uid, series, stage, record));
    if (!has_label) {
      store_.Abandon(case_id);
      return absl::OkStatus();
    }
    CSL_RETURN_IF_ERROR(LinkImages(images, stage));
    CSL_RETURN_IF_ERROR(Publish(record, stage));
    ++report_.labels_added;
    return absl::OkStatus();
  }

  absl::Status TakeLabelsAlone(const std::string& series_uid, const Labels& labels) {
    BeginFinding(series_uid, *labels.front(), 0);
    const std::string case_id = deidentifier_.Pseudonym("series", series_uid);
    if (case_id.empty() || !store_.Has(case_id)) {
      Count({RejectReason::kLabelWithoutImage, ""}, 0, static_cast<int64_t>(labels.size()));
      return absl::OkStatus();
    }
    finding_->is_used = true;
    CSL_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(JoinPath(CaseFolder(home_, case_id), "case.json"), 1 << 20));
    CSL_ASSIGN_OR_RETURN(const CaseRecord record, CaseFromJson(text));
    if (CountIfForeign(record, labels)) return absl::OkStatus();
    return AddLabelIfMissing(case_id, series_uid, labels);
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
    if (finding_ != nullptr) {
      AddNote(series > 0 ? finding_->images : finding_->labels,
              {RejectName(rejection.reason), rejection.detail, files});
    }
    if (rejection.detail.empty()) return;
    const bool room = count.details.size() < kDetailsMax || count.details.contains(rejection.detail);
    ++count.details[room ? rejection.detail : std::string("other")];
  }

  const std::string& home_;
  const IngestOptions& options_;
  const CaseStore& store_;
  const privacy::Deidentifier& deidentifier_;
  const std::map<std::string, std::string>& nifti_labels_;  // by series UID or patient ID
  RegisterView& patients_;
  IngestReport& report_;
  ThreadPool pool_;
  const IndexedPatient* patient_ = nullptr;
  PatientFindings findings_;           // of the patient in work
  SeriesFinding* finding_ = nullptr;   // of the series in work
  std::optional<privacy::PatientTokens> tokens_;
  std::optional<PatientNifti> patient_nifti_;
};

}  // namespace

absl::StatusOr<privacy::SecretBytes> LoadOrCreateSiteKey(const std::string& home) {
  return LoadOrCreateHomeKey(home, "site.key", privacy::kSiteKeyBytes);
}

namespace {

// None where no file is named.
absl::StatusOr<std::optional<ImageLabelTable>> ReadImageLabels(
    const IngestOptions& options, const privacy::Deidentifier& deidentifier) {
  if (options.image_labels.empty()) return std::optional<ImageLabelTable>();
  CSL_ASSIGN_OR_RETURN(const std::string csv, ReadFile(options.image_labels, kImageLabelBytesMax));
  CSL_ASSIGN_OR_RETURN(ImageLabelTable table,
                       ParseImageLabels(csv, options.vocabulary, deidentifier));
  return std::make_optional(std::move(table));
}

}  // namespace

absl::StatusOr<IngestReport> Ingest(const std::string& home, const std::vector<std::string>& paths,
                                    const IngestOptions& options, const IntakeProgress& progress,
                                    const std::atomic<bool>* stop) {
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, LoadOrCreateSiteKey(home));
  privacy::DeidProfile profile;
  profile.secondary_images = options.secondary_images;
  CSL_ASSIGN_OR_RETURN(
      const privacy::Deidentifier deidentifier,
      privacy::Deidentifier::Create({.site_key = std::move(key), .profile = std::move(profile)}));
  CSL_ASSIGN_OR_RETURN(RegisterView patients, RegisterView::Open(home));
  CSL_ASSIGN_OR_RETURN(const auto nifti_labels, ListNiftiLabels(options.nifti_folder));
  CSL_ASSIGN_OR_RETURN(const auto image_labels, ReadImageLabels(options, deidentifier));
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
  Intake intake(home, options, store, deidentifier, nifti_labels, patients, report);
  for (const IndexedPatient& patient : index.patients) {
    const auto files_done = [&](int64_t files) {
      done += files;
      if (progress) progress(done, 2 * index.files_seen);
    };
    CSL_RETURN_IF_ERROR(intake.Take(patient, files_done, stop));
  }
  if (!options.vocabulary.findings.empty()) {
    const ImageLabelTable said =
        ReadReportLabels(index, options.vocabulary, deidentifier, report.reports);
    CSL_ASSIGN_OR_RETURN(report.report_labels, PutImageLabels(home, said));
  }
  if (image_labels) {  // after the reports: what people wrote for this counts more
    CSL_ASSIGN_OR_RETURN(report.image_labels, PutImageLabels(home, *image_labels));
  }
  return report;
}

}  // namespace consilium::agent
