#include "site_agent/intake/findings.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/intake/leftovers.h"
#include "site_agent/intake/patient_register.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr uint64_t kFileBytesMax = uint64_t{64} << 20;
constexpr const char* kSuffix = ".json";
// Files that name neither a patient nor a study.
constexpr const char* kUnknown = "unknown";

std::string Folder(const std::string& home) { return JoinPath(home, "findings"); }

std::string PathOf(const std::string& home, absl::string_view patient) {
  return JoinPath(Folder(home), absl::StrCat(patient.empty() ? kUnknown : patient, kSuffix));
}

Json ToJson(const std::vector<FindingNote>& notes) {
  Json list = Json::array();
  for (const FindingNote& note : notes) {
    list.push_back({{"reason", note.reason}, {"detail", note.detail}, {"files", note.files}});
  }
  return list;
}

std::vector<FindingNote> NotesFrom(const Json& json) {
  std::vector<FindingNote> notes;
  for (const Json& note : json) {
    notes.push_back({note.at("reason").get<std::string>(), note.at("detail").get<std::string>(),
                     note.at("files").get<int64_t>()});
  }
  return notes;
}

std::string ToText(const PatientFindings& findings) {
  Json series = Json::object();
  for (const auto& [id, found] : findings.series) {
    series[id] = {{"study", found.study},           {"modality", found.modality},
                  {"files", found.files},           {"used", found.is_used},
                  {"images", ToJson(found.images)}, {"labels", ToJson(found.labels)}};
  }
  const Json json = {{"format", kFormat},
                     {"patient", findings.patient},
                     {"series", std::move(series)},
                     {"withheld", findings.withheld},
                     {"withheld_series", findings.withheld_series},
                     {"withheld_files", findings.withheld_files}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<PatientFindings> FromText(absl::string_view text) {
  const absl::Status fault = absl::DataLossError("not what intake has found");
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  PatientFindings findings;
  // As in catalog.cc: nlohmann reports a missing key or a wrong type by exception.
  try {
    if (!json.is_object() || json.at("format").get<int>() != kFormat) return fault;
    json.at("patient").get_to(findings.patient);
    for (const auto& [id, item] : json.at("series").items()) {
      SeriesFinding& found = findings.series[id];
      item.at("study").get_to(found.study);
      item.at("modality").get_to(found.modality);
      item.at("files").get_to(found.files);
      item.at("used").get_to(found.is_used);
      found.images = NotesFrom(item.at("images"));
      found.labels = NotesFrom(item.at("labels"));
    }
    json.at("withheld").get_to(findings.withheld);
    json.at("withheld_series").get_to(findings.withheld_series);
    json.at("withheld_files").get_to(findings.withheld_files);
  } catch (const Json::exception&) {
    return fault;
  }
  return findings;
}

absl::StatusOr<PatientFindings> ReadOne(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  return FromText(text);
}

}  // namespace

void AddNote(std::vector<FindingNote>& notes, FindingNote note) {
  const auto same = std::find_if(notes.begin(), notes.end(), [&](const FindingNote& old) {
    return old.reason == note.reason && old.detail == note.detail;
  });
  if (same != notes.end()) {
    same->files += note.files;
  } else if (notes.size() < kFindingNotesMax) {
    notes.push_back(std::move(note));
  }
}

void PatientFindings::Merge(const PatientFindings& seen) {
  withheld = seen.withheld;
  withheld_series = seen.withheld_series;
  withheld_files = seen.withheld_files;
  for (const auto& [id, found] : seen.series) {
    if (const auto old = series.find(id); found.files == 0 && old != series.end()) {
      old->second.labels = found.labels;
    } else {
      series[id] = found;
    }
  }
}

std::string PlainModality(absl::string_view modality) {
  static constexpr absl::string_view kTerms[] = {
      "AR",       "ASMT",     "AU",   "BDUS", "BI",   "BMD", "CR",  "CT",     "DG",      "DMS",
      "DOC",      "DX",       "ECG",  "EPS",  "ES",   "FID", "GM",  "HC",     "HD",      "IO",
      "IOL",      "IVOCT",    "IVUS", "KER",  "KO",   "LEN", "LS",  "M3D",    "MG",      "MR",
      "NM",       "OAM",      "OCT",  "OP",   "OPM",  "OPT", "OPV", "OSS",    "OT",      "PLAN",
      "PR",       "PT",       "PX",   "REG",  "RESP", "RF",  "RG",  "RTDOSE", "RTIMAGE", "RTPLAN",
      "RTRECORD", "RTSTRUCT", "RWV",  "SEG",  "SM",   "SMR", "SR",  "SRF",    "STAIN",   "TG",
      "US",       "VA",       "XA",   "XC"};
  const bool known = std::find(std::begin(kTerms), std::end(kTerms), modality) != std::end(kTerms);
  return known ? std::string(modality) : "other";
}

absl::Status KeepFindings(const std::string& home, const PatientFindings& seen) {
  if (!seen.patient.empty() && !IsPatientPseudonym(seen.patient)) {
    return absl::InternalError("findings are kept by pseudonym");
  }
  CSL_RETURN_IF_ERROR(MakeDirs(Folder(home)));
  PatientFindings kept = FindingsOf(home, seen.patient);
  kept.patient = seen.patient;
  kept.Merge(seen);
  return ReplaceFile(PathOf(home, seen.patient), ToText(kept), kPrivateFile);
}

absl::StatusOr<std::vector<PatientFindings>> LoadFindings(const std::string& home) {
  std::vector<PatientFindings> all;
  std::error_code error;
  fs::directory_iterator entries(Folder(home), error);
  if (error == std::errc::no_such_file_or_directory) return all;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string path = entries->path().string();
    if (!absl::EndsWith(path, kSuffix)) continue;  // one that is being written
    absl::StatusOr<PatientFindings> findings = ReadOne(path);
    if (findings.ok() && PathOf(home, findings->patient) == path) {
      all.push_back(*std::move(findings));
    }
  }
  if (error) return absl::UnavailableError("what intake has found cannot be read");
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.patient < b.patient; });
  return all;
}

PatientFindings FindingsOf(const std::string& home, absl::string_view patient) {
  absl::StatusOr<PatientFindings> findings = ReadOne(PathOf(home, patient));
  return findings.ok() && findings->patient == patient ? *std::move(findings) : PatientFindings();
}

absl::Status RemoveFindings(const std::string& home, absl::string_view patient) {
  return RemoveWithLeftovers(Folder(home), BaseName(PathOf(home, patient)));
}

}  // namespace consilium::agent
