#include "site_agent/round/study_state.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Arrays = std::vector<training::NamedArray>;
using Key = privacy::LogField::Key;

constexpr const char* kLocal = "local.safetensors";
constexpr const char* kPersonal = "personal.safetensors";
constexpr const char* kControl = "control.safetensors";
constexpr const char* kMarker = "training.json";
constexpr const char* kPlanDigestKey = "consilium.plan_sha256";
constexpr uint64_t kMarkerBytesMax = 64 * 1024;

std::string StudyFolder(const std::string& home, const std::string& study) {
  return JoinPath(JoinPath(home, "studies"), study);
}
std::string NextFolder(const std::string& folder) { return JoinPath(folder, "next"); }

struct Marker {
  std::string task_id;
  int64_t round = 0;
  std::string plan_sha256;
  std::string model_sha256;  // that was trained from
  bool accepted = false;
};

absl::Status WriteMarker(const std::string& folder, const Marker& marker) {
  const Json json = {{"task", marker.task_id},
                     {"round", marker.round},
                     {"plan", marker.plan_sha256},
                     {"model", marker.model_sha256},
                     {"accepted", marker.accepted}};
  return WriteFileAtomic(JoinPath(folder, kMarker),
                         json.dump(-1, ' ', false, Json::error_handler_t::replace), kPrivateFile);
}

// None: no training was staged, or not to its end.
std::optional<Marker> ReadMarker(const std::string& folder) {
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(folder, kMarker), kMarkerBytesMax);
  if (!text.ok()) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto has = [&](const char* key, Json::value_t type) {
    const auto found = json.find(key);
    return found != json.end() && found->type() == type;
  };
  if (!json.is_object() || !has("task", Json::value_t::string) ||
      !has("plan", Json::value_t::string) || !has("model", Json::value_t::string) ||
      !has("accepted", Json::value_t::boolean) || !json.contains("round") || !json["round"].is_number_integer()) {
    return std::nullopt;
  }
  return Marker{json["task"].get<std::string>(), json["round"].get<int64_t>(),
                json["plan"].get<std::string>(), json["model"].get<std::string>(),
                json["accepted"].get<bool>()};
}

void Remove(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

absl::Status Write(const std::string& path, const Arrays& arrays, const std::string& plan_sha256) {
  if (arrays.empty()) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const wire::TensorMap map, TensorMapFromArrays(Arrays(arrays)));
  return wire::WriteSafetensors(path, map, {{kPlanDigestKey, plan_sha256}});
}

Arrays Read(const std::string& path, const std::string& plan_sha256) {
  if (!PathExists(path)) return {};
  absl::StatusOr<wire::SafetensorsFile> file = wire::ReadSafetensors(path);
  const absl::Status fit = file.ok() ? wire::CheckFinite(file->map) : file.status();
  if (!fit.ok()) {
    privacy::Log(privacy::LogLevel::kWarning,
                 "what the site kept of a study cannot be read and is not used",
                 {{Key::kReason, fit.message()}});
    return {};
  }
  const auto plan = file->metadata.find(kPlanDigestKey);
  if (plan == file->metadata.end() || plan->second != plan_sha256) return {};
  return ArraysFromTensorMap(std::move(file->map));
}

// Over what is there, if there is one. Names that were moved before a crash are simply not there.
absl::Status Promote(const std::string& from, const std::string& to) {
  return PathExists(from) ? RenameDurably(from, to) : absl::OkStatus();
}

}  // namespace

StudyState::StudyState(const std::string& home, const SiteTask& task)
    : folder_(StudyFolder(home, task.study)),
      plan_sha256_(privacy::Sha256Hex(task.plan_json)),
      model_sha256_(task.model.sha256),
      task_(KeyOf(task)) {}

absl::StatusOr<StudyArrays> StudyState::Begin() const {
  const std::string next = NextFolder(folder_);
  if (task_.round <= 1) {
    Remove(folder_);
    return StudyArrays();
  }
  const std::optional<Marker> marker = ReadMarker(next);
  if (marker && marker->plan_sha256 == plan_sha256_ && marker->round < task_.round) {
    // The same model again: nothing came of that round, though its updates may have been taken.
    const bool counted = marker->accepted && marker->model_sha256 != model_sha256_;
    for (const char* name : {kLocal, kPersonal, kControl}) {
      if (name == kControl && !counted) continue;
      CSL_RETURN_IF_ERROR(Promote(JoinPath(next, name), JoinPath(folder_, name)));
    }
  }
  Remove(next);
  StudyArrays arrays;
  arrays.local = Read(JoinPath(folder_, kLocal), plan_sha256_);
  arrays.personal = Read(JoinPath(folder_, kPersonal), plan_sha256_);
  arrays.control = Read(JoinPath(folder_, kControl), plan_sha256_);
  return arrays;
}

absl::Status StudyState::Stage(const StudyArrays& made) const {
  if (made.local.empty() && made.personal.empty() && made.control.empty()) return absl::OkStatus();
  const std::string next = NextFolder(folder_);
  Remove(next);
  CSL_RETURN_IF_ERROR(MakeDirs(next));
  CSL_RETURN_IF_ERROR(Write(JoinPath(next, kLocal), made.local, plan_sha256_));
  CSL_RETURN_IF_ERROR(Write(JoinPath(next, kPersonal), made.personal, plan_sha256_));
  CSL_RETURN_IF_ERROR(Write(JoinPath(next, kControl), made.control, plan_sha256_));
  return WriteMarker(next, {task_.task_id, task_.round, plan_sha256_, model_sha256_, false});
}

absl::StatusOr<StudyArrays> StudyState::Newest() const {
  const std::string next = NextFolder(folder_);
  const std::optional<Marker> marker = ReadMarker(next);
  const bool staged = marker && marker->plan_sha256 == plan_sha256_ && marker->round <= task_.round;
  const auto read = [&](const char* name) {
    Arrays arrays;
    if (staged) arrays = Read(JoinPath(next, name), plan_sha256_);
    return arrays.empty() ? Read(JoinPath(folder_, name), plan_sha256_) : arrays;
  };
  StudyArrays arrays;
  arrays.local = read(kLocal);
  arrays.personal = read(kPersonal);
  return arrays;
}

absl::Status StudyState::NoteAccepted(const std::string& home, const TaskKey& task) {
  const std::string next = NextFolder(StudyFolder(home, task.study));
  std::optional<Marker> marker = ReadMarker(next);
  if (!marker || marker->task_id != task.task_id || marker->accepted) return absl::OkStatus();
  marker->accepted = true;
  return WriteMarker(next, *marker);
}

}  // namespace consilium::agent
