#include "site_agent/round/spool.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kResultBytesMax = 64 * 1024 * 1024;
constexpr const char* kResultName = "result.json";
constexpr const char* kUpdateName = "update.sealed";
constexpr TaskKind kKinds[] = {TaskKind::kPrepare,  TaskKind::kInitialise, TaskKind::kTrain,
                               TaskKind::kEvaluate, TaskKind::kConsent,    TaskKind::kReveal};

Json CohortJson(const CohortSummary& cohort) {
  return {{"cases", cohort.cases},
          {"labelled_cases", cohort.labelled_cases},
          {"held_out_cases", cohort.held_out_cases},
          {"median_spacing_xyz_mm", cohort.median_spacing_xyz_mm},
          {"median_size_xyz", cohort.median_size_xyz},
          {"rejected_by_reason", cohort.rejected_by_reason}};
}

CohortSummary CohortFrom(const Json& json) {
  CohortSummary cohort;
  json.at("cases").get_to(cohort.cases);
  json.at("labelled_cases").get_to(cohort.labelled_cases);
  json.at("held_out_cases").get_to(cohort.held_out_cases);
  json.at("median_spacing_xyz_mm").get_to(cohort.median_spacing_xyz_mm);
  json.at("median_size_xyz").get_to(cohort.median_size_xyz);
  json.at("rejected_by_reason").get_to(cohort.rejected_by_reason);
  return cohort;
}

Json OfferJson(const UpdateOffer& offer) {
  const TrainingSummary& s = offer.summary;
  return {{"base_model_sha256", offer.base_model_sha256},
          {"layout_sha256", offer.layout_sha256},
          {"bytes", offer.bytes},
          {"sha256", offer.sha256},
          {"labelled_cases", offer.labelled_cases},
          {"unlabelled_cases", offer.unlabelled_cases},
          {"steps", s.steps},
          {"seconds", s.seconds},
          {"mean_loss", s.mean_loss},
          {"mean_supervised_loss", s.mean_supervised_loss},
          {"mean_consistency_loss", s.mean_consistency_loss},
          {"teacher_certainty", s.teacher_certainty},
          {"pseudo_foreground_fraction", s.pseudo_foreground_fraction}};
}

UpdateOffer OfferFrom(const Json& json) {
  UpdateOffer offer;
  json.at("base_model_sha256").get_to(offer.base_model_sha256);
  json.at("layout_sha256").get_to(offer.layout_sha256);
  json.at("bytes").get_to(offer.bytes);
  json.at("sha256").get_to(offer.sha256);
  json.at("labelled_cases").get_to(offer.labelled_cases);
  json.at("unlabelled_cases").get_to(offer.unlabelled_cases);
  TrainingSummary& s = offer.summary;
  json.at("steps").get_to(s.steps);
  json.at("seconds").get_to(s.seconds);
  json.at("mean_loss").get_to(s.mean_loss);
  json.at("mean_supervised_loss").get_to(s.mean_supervised_loss);
  json.at("mean_consistency_loss").get_to(s.mean_consistency_loss);
  json.at("teacher_certainty").get_to(s.teacher_certainty);
  json.at("pseudo_foreground_fraction").get_to(s.pseudo_foreground_fraction);
  return offer;
}

// JSON has no NaN: an undefined Dice is null.
Json EvaluationJson(const EvaluationResult& result) {
  Json cases = Json::array();
  for (const CaseResult& item : result.cases) {
    Json dice = Json::array();
    for (const double value : item.dice) dice.push_back(std::isnan(value) ? Json() : Json(value));
    cases.push_back({{"case", item.case_pseudonym}, {"dice", std::move(dice)}});
  }
  return cases;
}

EvaluationResult EvaluationFrom(const Json& json) {
  EvaluationResult result;
  for (const Json& item : json) {
    CaseResult& out = result.cases.emplace_back();
    item.at("case").get_to(out.case_pseudonym);
    for (const Json& value : item.at("dice")) {
      out.dice.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                         : value.get<double>());
    }
  }
  return result;
}

Json ConsentJson(const ConsentResult& result) {
  return {{"site", result.consent.site},
          {"survivors", HexEncode(result.consent.survivors)},
          {"signature", HexEncode(result.consent.signature)}};
}

std::string BytesFrom(const Json& json) {
  absl::StatusOr<std::string> bytes = HexDecode(json.get<std::string>());
  if (!bytes.ok()) throw std::invalid_argument("hex");
  return *std::move(bytes);
}

ConsentResult ConsentFrom(const Json& json) {
  ConsentResult result;
  json.at("site").get_to(result.consent.site);
  result.consent.survivors = BytesFrom(json.at("survivors"));
  result.consent.signature = BytesFrom(json.at("signature"));
  return result;
}

Json RevealJson(const RevealResult& result) {
  Json shares = Json::array();
  for (const RevealedShare& item : result.shares) {
    shares.push_back({{"of", item.of},
                      {"mask_key", item.secret == RevealedShare::Secret::kMaskKey},
                      {"share", HexEncode(item.share)}});
  }
  return shares;
}

RevealResult RevealFrom(const Json& json) {
  RevealResult result;
  for (const Json& item : json) {
    RevealedShare& share = result.shares.emplace_back();
    item.at("of").get_to(share.of);
    share.secret = item.at("mask_key").get<bool>() ? RevealedShare::Secret::kMaskKey
                                                   : RevealedShare::Secret::kSelfSeed;
    share.share = BytesFrom(item.at("share"));
  }
  return result;
}

TaskResult ResultFrom(TaskKind kind, const Json& json) {
  switch (kind) {
    case TaskKind::kPrepare:
      return CohortFrom(json);
    case TaskKind::kEvaluate:
      return EvaluationFrom(json);
    case TaskKind::kConsent:
      return ConsentFrom(json);
    case TaskKind::kReveal:
      return RevealFrom(json);
    case TaskKind::kInitialise:
    case TaskKind::kTrain:
      return OfferFrom(json);
  }
  CSL_CHECK(false);
}

// What the result is made of decides how it is written.
struct ResultJson {
  Json operator()(const CohortSummary& result) const { return CohortJson(result); }
  Json operator()(const UpdateOffer& result) const { return OfferJson(result); }
  Json operator()(const EvaluationResult& result) const { return EvaluationJson(result); }
  Json operator()(const ConsentResult& result) const { return ConsentJson(result); }
  Json operator()(const RevealResult& result) const { return RevealJson(result); }
};

FinishedTask FinishedFrom(const Json& json) {
  FinishedTask task;
  json.at("task_id").get_to(task.key.task_id);
  json.at("study").get_to(task.key.study);
  json.at("round").get_to(task.key.round);
  const std::string kind = json.at("kind").get<std::string>();
  const auto* const known = std::find_if(std::begin(kKinds), std::end(kKinds),
                                         [&](TaskKind k) { return kind == TaskKindName(k); });
  if (known == std::end(kKinds)) throw std::invalid_argument("kind");
  task.key.kind = *known;
  task.result = ResultFrom(task.key.kind, json.at("result"));
  return task;
}

// True when something that the folder's result needs is not there or not whole. Not when it cannot
// be read: a fault of the disk may pass, and the training behind the result is worth the wait.
bool IsCut(const fs::path& folder) {
  const auto text = ReadFile((folder / kResultName).string(), kResultBytesMax);
  if (!text.ok()) return absl::IsNotFound(text.status());
  const auto task = FinishedTaskFromJson(*text);
  if (!task.ok()) return true;
  const auto* offer = std::get_if<UpdateOffer>(&task->result);
  if (offer == nullptr) return false;
  const auto digest = privacy::Sha256HexOfFile((folder / kUpdateName).string());
  return digest.ok() ? *digest != offer->sha256 : absl::IsNotFound(digest.status());
}

}  // namespace

std::string FinishedTaskToJson(const FinishedTask& task) {
  Json json = {{"task_id", task.key.task_id},
               {"kind", TaskKindName(task.key.kind)},
               {"study", task.key.study},
               {"round", task.key.round},
               {"result", std::visit(ResultJson(), task.result)}};
  return json.dump();
}

absl::StatusOr<FinishedTask> FinishedTaskFromJson(absl::string_view text) {
  // nlohmann's typed getters throw; nothing else in here does.
  try {
    return FinishedFrom(Json::parse(text.begin(), text.end()));
  } catch (const std::exception&) {
    return absl::InvalidArgumentError("spooled result is not in its form");
  }
}

absl::StatusOr<Spool> Spool::Open(const std::string& home) {
  Spool spool(JoinPath(home, "spool"));
  CSL_RETURN_IF_ERROR(MakeDirs(spool.folder_));
  std::error_code error;
  std::vector<fs::path> cut;
  for (const auto& entry : fs::directory_iterator(spool.folder_, error)) {
    if (IsCut(entry.path())) cut.push_back(entry.path());
  }
  if (error) return absl::InternalError("the spool folder cannot be read");
  for (const fs::path& path : cut) fs::remove_all(path, error);
  return spool;
}

absl::StatusOr<std::vector<FinishedTask>> Spool::ListOf(const std::string& home) {
  const std::string folder = JoinPath(home, "spool");
  return PathExists(folder) ? ListIn(folder) : std::vector<FinishedTask>();
}

absl::StatusOr<std::vector<FinishedTask>> Spool::ListIn(const std::string& folder) {
  std::vector<std::pair<fs::file_time_type, FinishedTask>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path path = entry.path() / kResultName;
    const auto text = ReadFile(path.string(), kResultBytesMax);
    if (!text.ok()) continue;
    CSL_ASSIGN_OR_RETURN(FinishedTask task, FinishedTaskFromJson(*text));
    std::error_code ignored;
    found.emplace_back(fs::last_write_time(path, ignored), std::move(task));
  }
  if (error) return absl::InternalError("the spool folder cannot be read");
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second.key.task_id < b.second.key.task_id;
  });
  std::vector<FinishedTask> tasks;
  for (auto& [time, task] : found) tasks.push_back(std::move(task));
  return tasks;
}

absl::StatusOr<std::string> Spool::BeginWork(const std::string& task_id) {
  Remove(task_id);
  const std::string folder = TaskFolder(task_id);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  return folder;
}

absl::Status Spool::Keep(const FinishedTask& task) {
  const std::string folder = TaskFolder(task.key.task_id);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  const std::string path = JoinPath(folder, kResultName);
  const std::string json = FinishedTaskToJson(task);
  if (std::holds_alternative<UpdateOffer>(task.result)) {
    CSL_RETURN_IF_ERROR(ReplaceFile(path, json, kPrivateFile));
    unsynced_.insert(task.key.task_id);
    return absl::OkStatus();
  }
  CSL_RETURN_IF_ERROR(WriteFileAtomic(path, json, kPrivateFile));
  return SyncDir(folder_);
}

absl::Status Spool::Sync() {
  if (unsynced_.empty()) return absl::OkStatus();
  for (const std::string& task_id : unsynced_) {
    CSL_RETURN_IF_ERROR(SyncPath(UpdatePath(task_id)));
    CSL_RETURN_IF_ERROR(SyncPath(JoinPath(TaskFolder(task_id), kResultName)));
  }
  CSL_RETURN_IF_ERROR(SyncDir(folder_));
  unsynced_.clear();
  return absl::OkStatus();
}

absl::StatusOr<FinishedTask> Spool::Load(const std::string& task_id) const {
  CSL_ASSIGN_OR_RETURN(const std::string text,
                       ReadFile(JoinPath(TaskFolder(task_id), kResultName), kResultBytesMax));
  return FinishedTaskFromJson(text);
}

void Spool::Remove(const std::string& task_id) {
  const fs::path folder = TaskFolder(task_id);
  std::error_code ignored;
  unsynced_.erase(task_id);
  // The result goes first: a crash in between leaves a folder that Open takes for cut work.
  fs::remove(folder / kResultName, ignored);
  fs::remove_all(folder, ignored);
}

std::string Spool::UpdatePath(const std::string& task_id) const {
  return JoinPath(TaskFolder(task_id), kUpdateName);
}

std::string Spool::TaskFolder(const std::string& task_id) const {
  return JoinPath(folder_, privacy::Sha256Hex(task_id).substr(0, 16));
}

}  // namespace consilium::agent
