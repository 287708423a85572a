#include "site_agent/intake/held_queue.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_header.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kRecordBytesMax = 4096;
constexpr uint64_t kQueuesBytesMax = 2 << 20;

std::string QueuesPath(const std::string& home) { return JoinPath(home, "held_queues.json"); }

absl::StatusOr<std::vector<std::string>> ListedQueues(const std::string& home) {
  const absl::StatusOr<std::string> text = ReadFile(QueuesPath(home), kQueuesBytesMax);
  std::vector<std::string> queues;
  if (absl::IsNotFound(text.status())) return queues;
  CSL_RETURN_IF_ERROR(text.status());
  const absl::Status fault = absl::DataLossError("held_queues.json is damaged");
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return fault;
  for (const Json& folder : json) {
    if (!folder.is_string()) return fault;
    queues.push_back(folder.get<std::string>());
  }
  return queues;
}

Json ToJson(const HeldFile& held) {
  return {
      {"id", held.id}, {"patient", held.patient}, {"reason", held.reason}, {"place", held.place}};
}

// Ids become part of a path.
bool IsId(absl::string_view id) {
  return !id.empty() && id.size() <= 32 &&
         id.find_first_not_of("0123456789abcdef-") == absl::string_view::npos;
}

// A place is one that DeidentifyFolder makes: three names of its own alphabet.
bool IsPlace(absl::string_view place) {
  return !place.empty() && place.size() <= 128 && place.front() != '/' &&
         place.find("..") == absl::string_view::npos &&
         place.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyzC/-.") ==
             absl::string_view::npos;
}

// Of a file whose record is damaged; its header has the pseudonym too.
std::string PatientInFile(const std::string& folder) {
  const absl::StatusOr<imaging::DicomHeader> header =
      imaging::ReadDicomHeader(JoinPath(folder, "image.dcm"));
  return header.ok() ? header->patient_id : "";
}

}  // namespace

std::string HeldQueue::Folder(absl::string_view id) const { return JoinPath(folder_, id); }

absl::Status HeldQueue::Add(const privacy::Deidentifier& deidentifier, const std::string& in_path,
                            const HeldFile& held, const privacy::PatientTokens& tokens) const {
  const std::string folder = Folder(held.id);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  absl::Status status = deidentifier
                            .PrepareReview(in_path, JoinPath(folder, "image.dcm"),
                                           JoinPath(folder, "image.png"), tokens)
                            .status();
  if (status.ok()) {
    status = ReplaceFile(JoinPath(folder, "held.json"), ToJson(held).dump(), kPrivateFile);
  }
  std::error_code ignored;
  if (!status.ok()) fs::remove_all(folder, ignored);
  return status;
}

absl::StatusOr<HeldFile> HeldQueue::Read(absl::string_view id) const {
  const std::string path = JoinPath(Folder(id), "held.json");
  if (!IsId(id) || !PathExists(path)) {
    return absl::NotFoundError("no such file in the queue; `held list` shows them");
  }
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kRecordBytesMax));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  HeldFile held;
  const auto read = [&](const char* key, std::string& out) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_string()) return false;
    out = json[key].get<std::string>();
    return true;
  };
  if (!read("id", held.id) || !read("patient", held.patient) || !read("reason", held.reason) ||
      !read("place", held.place) || held.id != id || !IsPlace(held.place)) {
    return absl::DataLossError(absl::StrCat("held file ", id, ": its record is damaged"));
  }
  return held;
}

absl::StatusOr<std::vector<HeldFile>> HeldQueue::List() const {
  std::error_code error;
  if (!fs::is_directory(folder_, error)) return absl::NotFoundError("no such queue");
  std::vector<HeldFile> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
    const std::string id = entry.path().filename().string();
    if (!IsId(id)) continue;
    CSL_ASSIGN_OR_RETURN(HeldFile held, Read(id));
    all.push_back(std::move(held));
  }
  std::sort(all.begin(), all.end(),
            [](const HeldFile& a, const HeldFile& b) { return a.id < b.id; });
  return all;
}

absl::Status HeldQueue::Release(absl::string_view id, const std::string& out) const {
  CSL_ASSIGN_OR_RETURN(const HeldFile held, Read(id));
  const std::string path = JoinPath(out, held.place);
  if (PathExists(path)) return absl::AlreadyExistsError("the output has such a file already");
  CSL_RETURN_IF_ERROR(MakeDirs(fs::path(path).parent_path().string()));
  CSL_RETURN_IF_ERROR(
      privacy::Deidentifier::ConfirmReviewed(JoinPath(Folder(id), "image.dcm"), path));
  return Reject(id);
}

absl::Status HeldQueue::Reject(absl::string_view id) const {
  CSL_RETURN_IF_ERROR(Read(id).status());
  std::error_code error;
  fs::remove_all(Folder(id), error);
  if (error) return absl::UnavailableError("the held file cannot be removed");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> HeldQueue::OfPatient(absl::string_view patient) const {
  std::vector<std::string> ids;
  std::error_code error;
  fs::directory_iterator entries(folder_, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string id = entries->path().filename().string();
    if (!IsId(id)) continue;
    const absl::StatusOr<HeldFile> held = Read(id);
    if (held.ok() ? held->patient == patient : PatientInFile(Folder(id)) == patient) {
      ids.push_back(id);
    }
  }
  if (error) return absl::UnavailableError("a queue of held files cannot be read");
  return ids;
}

absl::Status HeldQueue::Forget(absl::string_view id) const {
  std::error_code error;
  if (IsId(id)) fs::remove_all(Folder(id), error);
  if (error) return absl::UnavailableError("a held file cannot be removed");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> RememberedQueues(const std::string& home) {
  CSL_ASSIGN_OR_RETURN(std::vector<std::string> queues, ListedQueues(home));
  std::erase_if(queues, [](const std::string& folder) {
    std::error_code ignored;
    return !fs::is_directory(folder, ignored);
  });
  return queues;
}

absl::Status RememberQueue(const std::string& home, const std::string& folder) {
  CSL_ASSIGN_OR_RETURN(std::vector<std::string> queues, ListedQueues(home));
  std::error_code error;
  const std::string path = fs::absolute(folder, error).lexically_normal().string();
  if (error) return absl::UnavailableError("the queue's folder cannot be named");
  if (std::find(queues.begin(), queues.end(), path) != queues.end()) return absl::OkStatus();
  if (queues.size() >= kHeldQueuesMax) {
    return absl::ResourceExhaustedError("this home has too many queues of held files");
  }
  queues.push_back(path);
  return WriteFileAtomic(QueuesPath(home),
                         Json(queues).dump(-1, ' ', false, Json::error_handler_t::replace),
                         kPrivateFile);
}

std::vector<std::vector<std::string>> HeldTable(const std::vector<HeldFile>& held) {
  std::vector<std::vector<std::string>> rows = {{"id", "patient", "why"}};
  for (const HeldFile& file : held) rows.push_back({file.id, file.patient, file.reason});
  return rows;
}

std::string HeldToJson(const std::vector<HeldFile>& held) {
  Json json = Json::array();
  for (const HeldFile& file : held) json.push_back(ToJson(file));
  return json.dump();
}

}  // namespace consilium::agent
