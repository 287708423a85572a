#include "site_agent/intake/held_queue.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kRecordBytesMax = 4096;

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
