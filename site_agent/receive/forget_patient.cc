#include "site_agent/receive/forget_patient.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/intake/case_store.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/findings.h"
#include "site_agent/intake/held_queue.h"
#include "site_agent/intake/leftovers.h"
#include "site_agent/intake/patient_register.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kJobBytesMax = 16 << 20;
constexpr const char* kJobSuffix = ".json";

std::string JobsFolder(const std::string& home) { return JoinPath(home, "forgetting"); }

std::string JobPath(const std::string& home, const std::string& patient) {
  return JoinPath(JobsFolder(home), absl::StrCat(patient, kJobSuffix));
}

absl::Status NotRead() { return absl::UnavailableError("the home cannot be read to its end"); }

// Paths of regular files below `folder`; none where it is not there.
absl::StatusOr<std::vector<std::string>> FilesBelow(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  if (error == std::errc::no_such_file_or_directory) return files;
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    std::error_code gone;  // by a process beside this one
    if (entries->is_regular_file(gone)) files.push_back(entries->path().string());
  }
  if (error) return NotRead();
  return files;
}

// Of a case whose record is damaged: its images name their patient by pseudonym too.
std::string PatientInImages(const std::string& home, const std::string& case_id) {
  const absl::StatusOr<std::vector<std::string>> images = CaseImagePaths(home, case_id);
  if (!images.ok()) return "";
  for (const std::string& image : *images) {
    const absl::StatusOr<imaging::DicomHeader> header = imaging::ReadDicomHeader(image);
    if (header.ok() && !header->patient_id.empty()) return header->patient_id;
  }
  return "";
}

absl::Status FindCases(const std::string& home, PatientHoldings& holdings) {
  CSL_ASSIGN_OR_RETURN(const Catalog catalog, LoadCatalog(home));
  for (const CaseRecord& record : catalog.cases) {
    if (record.patient == holdings.patient) holdings.cases.push_back(record.case_id);
  }
  for (const std::string& case_id : catalog.damaged) {
    const std::string patient = PatientInImages(home, case_id);
    if (patient == holdings.patient) holdings.cases.push_back(case_id);
    if (patient.empty()) ++holdings.unreadable_cases;
  }
  return absl::OkStatus();
}

// Prepared samples of these cases, whatever the plan. A sample's name has the ids of its cases.
absl::StatusOr<std::vector<std::string>> CachedFiles(const std::string& home,
                                                     const std::vector<std::string>& cases) {
  if (cases.empty()) return std::vector<std::string>();
  CSL_ASSIGN_OR_RETURN(std::vector<std::string> files, FilesBelow(JoinPath(home, "cache")));
  std::erase_if(files, [&](const std::string& file) {
    const std::string name = BaseName(file);
    return std::none_of(cases.begin(), cases.end(),
                        [&](const std::string& id) { return absl::StrContains(name, id); });
  });
  return files;
}

// The name of the patient's folders there.
std::string QuarantineName(const std::string& patient) { return patient.substr(1); }

absl::StatusOr<int64_t> QuarantinedFiles(const std::string& home, const std::string& patient) {
  int64_t files = 0;
  for (const char* part : {"quarantine/patients", "quarantine/taking"}) {
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> found,
                         FilesBelow(JoinPath(JoinPath(home, part), QuarantineName(patient))));
    files += static_cast<int64_t>(found.size());
  }
  return files;
}

absl::Status EmptyQuarantine(const std::string& home, Quarantine* own, const std::string& patient) {
  if (own != nullptr) return own->DropPatient(QuarantineName(patient));
  CSL_ASSIGN_OR_RETURN(const int64_t files, QuarantinedFiles(home, patient));
  if (files == 0) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(Quarantine quarantine, Quarantine::Open(home, QuarantineLimits()));
  return quarantine.DropPatient(QuarantineName(patient));
}

absl::Status RemoveFile(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) return absl::UnavailableError("a file of a patient cannot be removed");
  return absl::OkStatus();
}

// The cases that the deletion began with; the store may have lost some of them since.
std::vector<std::string> CasesOfJob(const std::string& home, const std::string& patient) {
  const absl::StatusOr<std::string> text = ReadFile(JobPath(home, patient), kJobBytesMax);
  std::vector<std::string> cases;
  const Json json = Json::parse(text.ok() ? *text : "", nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return cases;
  for (const Json& id : json) {
    if (id.is_string() && !id.get_ref<const std::string&>().empty()) cases.push_back(id);
  }
  return cases;
}

absl::Status MarkForgotten(const std::string& home, const std::string& patient) {
  return UpdateRegister(home, [&](PatientRegister& patients) {
    patients.Set(patient, PatientMark::kForgotten);
    return absl::OkStatus();
  });
}

absl::Status RemoveHeld(const std::string& home, const std::string& patient) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> queues, RememberedQueues(home));
  for (const std::string& folder : queues) {
    const HeldQueue queue(folder);
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, queue.OfPatient(patient));
    for (const std::string& id : ids) CSL_RETURN_IF_ERROR(queue.Forget(id));
  }
  return absl::OkStatus();
}

absl::Status FinishOne(const std::string& home, Quarantine* own, const std::string& patient,
                       const ForgottenSink& sink) {
  CSL_RETURN_IF_ERROR(MarkForgotten(home, patient));  // a kill may have come before
  CSL_ASSIGN_OR_RETURN(const CaseStore store, CaseStore::Open(home));
  CSL_ASSIGN_OR_RETURN(PatientHoldings holdings, FindHoldings(home, patient));
  for (std::string& id : CasesOfJob(home, patient)) {
    const bool known =
        std::find(holdings.cases.begin(), holdings.cases.end(), id) != holdings.cases.end();
    if (!known) holdings.cases.push_back(std::move(id));
  }
  for (const std::string& id : holdings.cases) CSL_RETURN_IF_ERROR(store.Remove(id));
  // After the cases: a training that has just prepared one looks for it before it keeps the sample.
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> cached, CachedFiles(home, holdings.cases));
  for (const std::string& file : cached) CSL_RETURN_IF_ERROR(RemoveFile(file));
  holdings.cached_files = static_cast<int64_t>(cached.size());
  CSL_RETURN_IF_ERROR(RemoveHeld(home, patient));
  CSL_RETURN_IF_ERROR(RemoveFindings(home, patient));
  CSL_RETURN_IF_ERROR(EmptyQuarantine(home, own, patient));
  CSL_RETURN_IF_ERROR(sink(holdings));
  CSL_RETURN_IF_ERROR(RemoveWithLeftovers(JobsFolder(home), BaseName(JobPath(home, patient))));
  return SyncDir(JobsFolder(home));
}

}  // namespace

absl::StatusOr<PatientHoldings> FindHoldings(const std::string& home, const std::string& patient) {
  if (!IsPatientPseudonym(patient)) {
    return absl::InvalidArgumentError("a patient's pseudonym is a C and 12 hex digits");
  }
  PatientHoldings holdings;
  holdings.patient = patient;
  CSL_RETURN_IF_ERROR(FindCases(home, holdings));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> cached, CachedFiles(home, holdings.cases));
  holdings.cached_files = static_cast<int64_t>(cached.size());
  CSL_ASSIGN_OR_RETURN(holdings.quarantined_files, QuarantinedFiles(home, patient));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> queues, RememberedQueues(home));
  for (const std::string& folder : queues) {
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> ids, HeldQueue(folder).OfPatient(patient));
    holdings.held_files += static_cast<int64_t>(ids.size());
  }
  holdings.series_known = static_cast<int64_t>(FindingsOf(home, patient).series.size());
  return holdings;
}

absl::Status BeginForgetting(const std::string& home, const std::string& patient) {
  CSL_ASSIGN_OR_RETURN(PatientHoldings holdings, FindHoldings(home, patient));
  for (std::string& id : CasesOfJob(home, patient)) holdings.cases.push_back(std::move(id));
  CSL_RETURN_IF_ERROR(MakeDirs(JobsFolder(home)));
  CSL_RETURN_IF_ERROR(
      WriteFileAtomic(JobPath(home, patient), Json(holdings.cases).dump(), kPrivateFile));
  return MarkForgotten(home, patient);
}

absl::StatusOr<std::vector<std::string>> BeingForgotten(const std::string& home) {
  std::vector<std::string> patients;
  std::error_code error;
  fs::directory_iterator entries(JobsFolder(home), error);
  if (error == std::errc::no_such_file_or_directory) return patients;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    const std::string patient = name.substr(0, name.find('.'));
    if (absl::EndsWith(name, kJobSuffix) && IsPatientPseudonym(patient)) {
      patients.push_back(patient);
    }
  }
  if (error) return NotRead();
  std::sort(patients.begin(), patients.end());
  return patients;
}

absl::Status FinishForgetting(const std::string& home, Quarantine* own, const ForgottenSink& sink) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> patients, BeingForgotten(home));
  absl::Status all;
  for (const std::string& patient : patients) all.Update(FinishOne(home, own, patient, sink));
  return all;
}

std::vector<std::vector<std::string>> HoldingsTable(const std::vector<PatientHoldings>& holdings) {
  std::vector<std::vector<std::string>> rows = {
      {"patient", "cases", "prepared", "in quarantine", "held", "series known", "unreadable"}};
  for (const PatientHoldings& one : holdings) {
    rows.push_back({one.patient, absl::StrCat(one.cases.size()), absl::StrCat(one.cached_files),
                    absl::StrCat(one.quarantined_files), absl::StrCat(one.held_files),
                    absl::StrCat(one.series_known), absl::StrCat(one.unreadable_cases)});
  }
  return rows;
}

std::string HoldingsToJson(const std::vector<PatientHoldings>& holdings) {
  Json list = Json::array();
  for (const PatientHoldings& one : holdings) {
    list.push_back({{"patient", one.patient},
                    {"cases", one.cases},
                    {"prepared_files", one.cached_files},
                    {"quarantined_files", one.quarantined_files},
                    {"held_files", one.held_files},
                    {"series_known", one.series_known},
                    {"unreadable_cases", one.unreadable_cases}});
  }
  return list.dump();
}

}  // namespace consilium::agent
