#include "site_agent/intake/study_index.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

// Files between two looks at `stop` and two reports of progress.
constexpr size_t kBatchFiles = 128;

bool Stopped(const std::atomic<bool>* stop) { return stop != nullptr && stop->load(); }

// The regular files below the given paths.
class Walker {
 public:
  Walker(const IndexOptions& options, StudyIndex& index) : options_(options), index_(index) {}

  absl::Status Walk(const std::vector<std::string>& paths) {
    for (size_t i = 0; i < paths.size(); ++i) {
      std::error_code error;
      // A path that somebody names may be a link; what is found on the way may not.
      const fs::file_status status = fs::status(paths[i], error);
      if (!fs::exists(status)) {
        return absl::NotFoundError(absl::StrCat("path ", i + 1, " of ", paths.size(),
                                                " does not exist or may not be read"));
      }
      if (fs::is_directory(status)) {
        const fs::directory_iterator readable(paths[i], error);
        if (error) {
          return absl::PermissionDeniedError(
              absl::StrCat("path ", i + 1, " of ", paths.size(), " may not be read by user ",
                           ::geteuid(), "; run as its owner (a container: --user UID:GID)"));
        }
      }
      Visit(paths[i], status, 0);
    }
    std::sort(files_.begin(), files_.end());
    files_.erase(std::unique(files_.begin(), files_.end()), files_.end());
    return absl::OkStatus();
  }

  std::vector<std::string>& files() { return files_; }

 private:
  void Visit(const fs::path& path, const fs::file_status& status, int depth) {
    if (fs::is_regular_file(status)) {
      if (static_cast<int64_t>(files_.size()) >= options_.files_max) {
        index_.truncated = true;
      } else {
        files_.push_back(path.string());
      }
      return;
    }
    if (!fs::is_directory(status)) {
      ++index_.files_skipped;
      return;
    }
    if (depth >= options_.depth_max) {
      index_.truncated = true;
      return;
    }
    std::error_code error;
    fs::directory_iterator entries(path, error);
    if (error) ++index_.files_skipped;
    for (; !error && entries != fs::directory_iterator() && !index_.truncated;
         entries.increment(error)) {
      std::error_code ignored;
      Visit(entries->path(), entries->symlink_status(ignored), depth + 1);
    }
  }

  const IndexOptions& options_;
  StudyIndex& index_;
  std::vector<std::string> files_;
};

// Files without a patient ID are kept apart by study: one patient's words must not be all that a
// crowd of strangers is searched for.
std::string PatientKey(const imaging::DicomHeader& header) {
  return header.patient_id.empty() ? absl::StrCat("\x01", header.study_uid) : header.patient_id;
}

class Grouper {
 public:
  void Add(imaging::DicomHeader header) {
    Patient& patient = patients_[PatientKey(header)];
    patient.id = header.patient_id;
    patient.paths.push_back(header.path);
    if (imaging::IsLabelClass(header.sop_class_uid)) {
      patient.segmentations.push_back(std::move(header));
    } else {
      patient.series[header.series_uid].push_back(std::move(header));
    }
  }

  std::vector<IndexedPatient> Finish() && {
    std::vector<IndexedPatient> patients;
    for (auto& [key, patient] : patients_) {
      IndexedPatient& out = patients.emplace_back();
      out.patient_id = patient.id;
      out.paths = std::move(patient.paths);
      out.segmentations = std::move(patient.segmentations);
      for (auto& [uid, files] : patient.series) out.series.push_back({uid, std::move(files)});
    }
    return patients;
  }

 private:
  struct Patient {
    std::string id;
    std::vector<std::string> paths;
    std::map<std::string, std::vector<imaging::DicomHeader>> series;
    std::vector<imaging::DicomHeader> segmentations;
  };
  std::map<std::string, Patient> patients_;
};

}  // namespace

std::string PseudonymOf(const IndexedPatient& patient, const privacy::Deidentifier& names) {
  if (!patient.patient_id.empty()) return names.PatientPseudonym(patient.patient_id);
  if (!patient.series.empty()) {
    return names.PatientPseudonym(patient.series.front().files.front().study_uid);
  }
  if (patient.segmentations.empty()) return "";
  return names.PatientPseudonym(patient.segmentations.front().study_uid);
}

absl::StatusOr<StudyIndex> BuildStudyIndex(const std::vector<std::string>& paths,
                                           const IndexOptions& options,
                                           const IntakeProgress& progress,
                                           const std::atomic<bool>* stop) {
  StudyIndex index;
  Walker walker(options, index);
  CSL_RETURN_IF_ERROR(walker.Walk(paths));
  const std::vector<std::string>& files = walker.files();
  index.files_seen = static_cast<int64_t>(files.size());
  ThreadPool pool(std::max(1, options.threads));
  Grouper grouper;
  for (size_t begin = 0; begin < files.size(); begin += kBatchFiles) {
    if (Stopped(stop)) return absl::CancelledError("stopped while reading the archive");
    const size_t end = std::min(files.size(), begin + kBatchFiles);
    std::vector<absl::StatusOr<imaging::DicomHeader>> headers(end - begin,
                                                              absl::UnknownError("not read"));
    for (size_t i = begin; i < end; ++i) {
      pool.Schedule([&, i] { headers[i - begin] = imaging::ReadDicomHeader(files[i]); });
    }
    pool.Wait();
    for (absl::StatusOr<imaging::DicomHeader>& header : headers) {
      if (!header.ok() || header->series_uid.empty()) {
        ++index.files_unreadable;
      } else {
        grouper.Add(*std::move(header));
      }
    }
    if (progress) progress(static_cast<int64_t>(end), index.files_seen);
  }
  index.patients = std::move(grouper).Finish();
  return index;
}

}  // namespace consilium::agent
