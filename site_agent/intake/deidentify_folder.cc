#include "site_agent/intake/deidentify_folder.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/deid/patient_tokens.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

bool LiesIn(const std::string& folder, const std::string& in) {
  std::error_code ignored;
  const fs::path inner = fs::weakly_canonical(folder, ignored);
  const fs::path outer = fs::weakly_canonical(in, ignored);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

absl::Status CheckOutput(const std::string& in, const std::string& out, const std::string& hold) {
  if (LiesIn(out, in)) {
    return absl::FailedPreconditionError("the output folder lies inside the input");
  }
  if (!hold.empty() && (LiesIn(hold, in) || LiesIn(hold, out))) {
    return absl::FailedPreconditionError("the queue lies inside the input or the output");
  }
  std::error_code error;
  if (fs::exists(out, error) && !fs::is_empty(out, error)) {
    return absl::FailedPreconditionError("the output is not an empty folder");
  }
  if (error) return absl::FailedPreconditionError("the output is not an empty folder");
  return absl::OkStatus();
}

RejectReason ReasonOf(const absl::Status& status) {
  if (absl::IsFailedPrecondition(status)) return RejectReason::kHeldBack;
  if (absl::IsPermissionDenied(status)) return RejectReason::kNotAnImage;
  return absl::IsUnimplemented(status) ? RejectReason::kNotDeidentified : RejectReason::kUnreadable;
}

std::vector<const imaging::DicomHeader*> FilesOf(const IndexedPatient& patient) {
  std::vector<const imaging::DicomHeader*> files;
  for (const IndexedSeries& series : patient.series) {
    for (const imaging::DicomHeader& file : series.files) files.push_back(&file);
  }
  for (const imaging::DicomHeader& file : patient.segmentations) files.push_back(&file);
  return files;
}

// Where each file goes: pseudonyms all the way down, so that neither a name nor a received UID becomes
// part of a path.
std::vector<HeldFile> Places(const privacy::Deidentifier& deidentifier,
                             const std::vector<const imaging::DicomHeader*>& files,
                             std::set<std::string>& taken) {
  std::vector<HeldFile> places;
  for (const imaging::DicomHeader* file : files) {
    HeldFile& place = places.emplace_back();
    place.patient = deidentifier.PatientPseudonym(
        file->patient_id.empty() ? file->study_uid : file->patient_id);
    if (place.patient.empty()) place.patient = "unknown";
    const std::string id = deidentifier.Pseudonym("instance", file->sop_instance_uid);
    place.id = id;
    for (int copy = 2; !taken.insert(place.id).second; ++copy) place.id = absl::StrCat(id, "-", copy);
    place.place = absl::StrCat(place.patient, "/", deidentifier.Pseudonym("series", file->series_uid),
                               "/", place.id, ".dcm");
  }
  return places;
}

// Works through the index, a patient at a time.
class Folder {
 public:
  Folder(const privacy::Deidentifier& deidentifier, const std::string& out,
         const std::string& hold, int threads, DeidentifyReport& report)
      : deidentifier_(deidentifier), out_(out), hold_(hold), pool_(std::max(1, threads)),
        report_(report) {}

  absl::Status Take(const IndexedPatient& patient) {
    const privacy::PatientTokens tokens = deidentifier_.CollectTokens(patient.paths, pool_);
    privacy::HeaderMemo memo;
    const std::vector<const imaging::DicomHeader*> files = FilesOf(patient);
    std::vector<HeldFile> places = Places(deidentifier_, files, taken_);
    std::vector<absl::StatusOr<privacy::DeidReport>> results(files.size(),
                                                             absl::UnknownError("not done"));
    std::vector<char> queued(files.size(), 0);
    for (size_t i = 0; i < files.size(); ++i) {
      CSL_RETURN_IF_ERROR(
          MakeDirs(fs::path(JoinPath(out_, places[i].place)).parent_path().string()));
      pool_.Schedule([&, i] {
        results[i] = deidentifier_.Deidentify(files[i]->path, JoinPath(out_, places[i].place), tokens,
                                              &memo);
        queued[i] = Queue(results[i].status(), files[i]->path, places[i], tokens);
      });
    }
    pool_.Wait();
    for (size_t i = 0; i < files.size(); ++i) {
      CSL_RETURN_IF_ERROR(Count(results[i], places[i]));
      report_.files_queued += queued[i];
    }
    return absl::OkStatus();
  }

 private:
  bool Queue(const absl::Status& status, const std::string& path, HeldFile& held,
             const privacy::PatientTokens& tokens) const {
    if (!absl::IsFailedPrecondition(status)) return false;
    held.reason = std::string(status.message());
    return !hold_.empty() && HeldQueue(hold_).Add(deidentifier_, path, held, tokens).ok();
  }

  absl::Status Count(const absl::StatusOr<privacy::DeidReport>& result, const HeldFile& held) {
    if (absl::IsUnavailable(result.status())) return result.status();
    if (result.ok()) {
      ++report_.files_written;
      report_.deid.Add(*result);
      return absl::OkStatus();
    }
    const RejectReason reason = ReasonOf(result.status());
    ++report_.held_back[reason];
    ++report_.details[std::string(result.status().message())];
    if (reason == RejectReason::kHeldBack) report_.held_files.push_back(held);
    return absl::OkStatus();
  }

  const privacy::Deidentifier& deidentifier_;
  const std::string& out_;
  const std::string& hold_;
  ThreadPool pool_;
  DeidentifyReport& report_;
  std::set<std::string> taken_;
};

std::optional<Withheld> ObjectionTo(const IndexedPatient& patient,
                                    const DeidentifyOptions& options,
                                    const privacy::Deidentifier& names) {
  if (!options.patients.has_value()) return std::nullopt;
  return options.patients->Objection(PseudonymOf(patient, names));
}

// Folders in which nothing came to lie would tell of held files.
void RemoveEmptyFolders(const std::string& out) {
  std::error_code ignored;
  for (const fs::directory_entry& patient : fs::directory_iterator(out, ignored)) {
    for (const fs::directory_entry& series : fs::directory_iterator(patient.path(), ignored)) {
      if (fs::is_empty(series.path(), ignored)) fs::remove(series.path(), ignored);
    }
    if (fs::is_empty(patient.path(), ignored)) fs::remove(patient.path(), ignored);
  }
}

}  // namespace

absl::StatusOr<DeidentifyReport> DeidentifyFolder(const std::string& in, const std::string& out,
                                                  DeidentifyOptions options,
                                                  const IntakeProgress& progress,
                                                  const std::atomic<bool>* stop) {
  CSL_RETURN_IF_ERROR(CheckOutput(in, out, options.hold));
  CSL_ASSIGN_OR_RETURN(
      const privacy::Deidentifier deidentifier,
      privacy::Deidentifier::Create(
          {.site_key = std::move(options.site_key), .profile = options.profile}));
  const IntakeProgress reading = [&](int64_t done, int64_t total) {
    if (progress) progress(done, 2 * total);
  };
  CSL_ASSIGN_OR_RETURN(const StudyIndex index, BuildStudyIndex({in}, options.index, reading, stop));
  CSL_RETURN_IF_ERROR(MakeDirs(out));
  DeidentifyReport report;
  report.profile = options.profile.name;
  report.profile_sha256 = privacy::ProfileDigest(options.profile);
  report.files_seen = index.files_seen + index.files_skipped;
  report.files_skipped = index.files_skipped;
  report.truncated = index.truncated;
  if (index.files_unreadable > 0) {
    report.held_back[RejectReason::kUnreadable] = index.files_unreadable;
    report.details["not DICOM, or without the UIDs that every file has"] = index.files_unreadable;
  }
  Folder folder(deidentifier, out, options.hold, options.index.threads, report);
  int64_t done = index.files_seen + index.files_unreadable;
  for (const IndexedPatient& patient : index.patients) {
    if (stop != nullptr && stop->load()) return absl::CancelledError("de-identification stopped");
    if (const std::optional<Withheld> why = ObjectionTo(patient, options, deidentifier)) {
      const auto files = static_cast<int64_t>(patient.paths.size());
      report.held_back[ReasonOf(*why)] += files;
      report.details[WithheldText(*why)] += files;
    } else {
      CSL_RETURN_IF_ERROR(folder.Take(patient));
    }
    done += static_cast<int64_t>(patient.paths.size());
    if (progress) progress(done, 2 * index.files_seen);
  }
  RemoveEmptyFolders(out);
  return report;
}

}  // namespace consilium::agent
