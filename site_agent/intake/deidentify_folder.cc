#include "site_agent/intake/deidentify_folder.h"

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

absl::Status CheckOutput(const std::string& in, const std::string& out) {
  std::error_code error;
  const fs::path inner = fs::weakly_canonical(out, error);
  const fs::path outer = fs::weakly_canonical(in, error);
  const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  if (end == outer.end()) {
    return absl::FailedPreconditionError("the output folder lies inside the input");
  }
  if (fs::exists(out, error) && !fs::is_empty(out, error)) {
    return absl::FailedPreconditionError("the output is not an empty folder");
  }
  if (error) return absl::FailedPreconditionError("the output is not an empty folder");
  return absl::OkStatus();
}

RejectReason ReasonOf(const absl::Status& status) {
  if (absl::IsFailedPrecondition(status)) return RejectReason::kHeldBack;
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

// Pseudonyms all the way down: neither a name nor a received UID becomes part of a path.
absl::StatusOr<std::vector<std::string>> Names(const privacy::Deidentifier& deidentifier,
                                               const std::string& out,
                                               const std::vector<const imaging::DicomHeader*>& files,
                                               std::set<std::string>& taken) {
  std::vector<std::string> names;
  for (const imaging::DicomHeader* file : files) {
    const std::string patient = deidentifier.PatientPseudonym(
        file->patient_id.empty() ? file->study_uid : file->patient_id);
    const std::string folder =
        JoinPath(JoinPath(out, patient.empty() ? "unknown" : patient),
                 deidentifier.Pseudonym("series", file->series_uid));
    CSL_RETURN_IF_ERROR(MakeDirs(folder));
    const std::string stem =
        JoinPath(folder, deidentifier.Pseudonym("instance", file->sop_instance_uid));
    std::string name = absl::StrCat(stem, ".dcm");
    for (int copy = 2; !taken.insert(name).second; ++copy) {
      name = absl::StrCat(stem, "-", copy, ".dcm");
    }
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

absl::StatusOr<DeidentifyReport> DeidentifyFolder(const std::string& in, const std::string& out,
                                                  privacy::SecretBytes site_key,
                                                  const IndexOptions& options,
                                                  const IntakeProgress& progress,
                                                  const std::atomic<bool>* stop) {
  CSL_RETURN_IF_ERROR(CheckOutput(in, out));
  CSL_ASSIGN_OR_RETURN(const privacy::Deidentifier deidentifier,
                       privacy::Deidentifier::Create({.site_key = std::move(site_key)}));
  const IntakeProgress reading = [&](int64_t done, int64_t total) {
    if (progress) progress(done, 2 * total);
  };
  CSL_ASSIGN_OR_RETURN(const StudyIndex index, BuildStudyIndex({in}, options, reading, stop));
  CSL_RETURN_IF_ERROR(MakeDirs(out));
  DeidentifyReport report;
  report.files_seen = index.files_seen;
  report.files_skipped = index.files_skipped;
  report.truncated = index.truncated;
  if (index.files_unreadable > 0) {
    report.held_back[RejectReason::kUnreadable] = index.files_unreadable;
  }
  std::set<std::string> taken;
  ThreadPool pool(std::max(1, options.threads));
  int64_t done = index.files_seen + index.files_unreadable;
  for (const IndexedPatient& patient : index.patients) {
    if (stop != nullptr && stop->load()) return absl::CancelledError("de-identification stopped");
    privacy::PatientTokens tokens;
    for (const std::string& path : patient.paths) {
      (void)deidentifier.CollectTokens(path, tokens);  // a broken file is counted below
    }
    const std::vector<const imaging::DicomHeader*> files = FilesOf(patient);
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         Names(deidentifier, out, files, taken));
    std::vector<absl::StatusOr<privacy::DeidReport>> results(files.size(),
                                                             absl::UnknownError("not done"));
    for (size_t i = 0; i < files.size(); ++i) {
      pool.Schedule(
          [&, i] { results[i] = deidentifier.Deidentify(files[i]->path, names[i], tokens); });
    }
    pool.Wait();
    for (const absl::StatusOr<privacy::DeidReport>& result : results) {
      if (absl::IsUnavailable(result.status())) return result.status();
      if (result.ok()) {
        ++report.files_written;
        report.deid.Add(*result);
      } else {
        ++report.held_back[ReasonOf(result.status())];
      }
    }
    done += static_cast<int64_t>(files.size());
    if (progress) progress(done, 2 * index.files_seen);
  }
  return report;
}

}  // namespace consilium::agent
