#include "site_agent/policy/approvals.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "proto/wire/plan.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr size_t kApprovalsMax = 10'000;
constexpr uint64_t kBytesMax = 4 << 20;

std::string Path(const std::string& home) { return JoinPath(home, "policy/approvals.json"); }

absl::Status Damaged() {
  return absl::DataLossError(
      "policy/approvals.json is damaged; remove it and approve again what is to go on");
}

absl::StatusOr<PlanApproval> FromJson(const Json& json) {
  if (!json.is_object() || json.size() != 3) return Damaged();
  const auto study = json.find("study"), plan = json.find("plan"), time = json.find("time_us");
  if (study == json.end() || !study->is_string() || plan == json.end() || !plan->is_string() ||
      time == json.end() || !time->is_number_integer()) {
    return Damaged();
  }
  PlanApproval approval{study->get<std::string>(), plan->get<std::string>(),
                        absl::FromUnixMicros(time->get<int64_t>())};
  if (!CheckApproval(approval.study, approval.plan_sha256).ok()) return Damaged();
  return approval;
}

absl::Status Write(const std::string& home, const std::vector<PlanApproval>& approvals) {
  Json list = Json::array();
  for (const PlanApproval& approval : approvals) {
    list.push_back({{"study", approval.study},
                    {"plan", approval.plan_sha256},
                    {"time_us", absl::ToUnixMicros(approval.time)}});
  }
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(home, "policy")));
  const Json json = {{"v", kVersion}, {"approvals", list}};
  return WriteFileAtomic(Path(home), json.dump() + "\n", kPrivateFile);
}

}  // namespace

absl::Status CheckApproval(absl::string_view study, absl::string_view plan_sha256) {
  CSL_RETURN_IF_ERROR(CheckName("study", study));
  const bool hex =
      plan_sha256.size() == 64 && std::all_of(plan_sha256.begin(), plan_sha256.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
      });
  if (hex) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the plan's digest must be its 64 lower-case hex digits, as the refusal in `consilium-agent "
      "audit show --output json` has it");
}

std::string WaitingPlanPath(const std::string& home, absl::string_view plan_sha256) {
  return JoinPath(home, absl::StrCat("policy/plans/", plan_sha256, ".json"));
}

absl::Status KeepWaitingPlan(const std::string& home, absl::string_view plan_json) {
  if (plan_json.size() > wire::kPlanBytesMax) return absl::ResourceExhaustedError("plan: too long");
  const std::string path = WaitingPlanPath(home, privacy::Sha256Hex(plan_json));
  if (PathExists(path)) return absl::OkStatus();
  const std::string folder = JoinPath(home, "policy/plans");
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  std::error_code error;
  size_t others = 0;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    ++others;
  }
  if (others >= kWaitingPlansMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "policy/plans holds ", others, " plans; remove those that nobody will approve"));
  }
  return WriteFileAtomic(path, plan_json, kPrivateFile);
}

absl::StatusOr<std::vector<PlanApproval>> ReadApprovals(const std::string& home) {
  const absl::StatusOr<std::string> text = ReadFile(Path(home), kBytesMax);
  if (absl::IsNotFound(text.status())) return std::vector<PlanApproval>();
  CSL_RETURN_IF_ERROR(text.status());
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("v", Json()) != kVersion) return Damaged();
  const auto list = json.find("approvals");
  if (list == json.end() || !list->is_array() || list->size() > kApprovalsMax) return Damaged();
  std::vector<PlanApproval> approvals;
  for (const Json& item : *list) {
    CSL_ASSIGN_OR_RETURN(PlanApproval approval, FromJson(item));
    approvals.push_back(std::move(approval));
  }
  return approvals;
}

absl::Status AddApproval(const std::string& home, absl::string_view study,
                         absl::string_view plan_sha256, absl::Time now) {
  CSL_RETURN_IF_ERROR(CheckApproval(study, plan_sha256));
  CSL_ASSIGN_OR_RETURN(std::vector<PlanApproval> approvals, ReadApprovals(home));
  for (const PlanApproval& approval : approvals) {
    if (approval.study == study && approval.plan_sha256 == plan_sha256) return absl::OkStatus();
  }
  if (approvals.size() >= kApprovalsMax) {
    return absl::ResourceExhaustedError(absl::StrCat("there are ", approvals.size(),
                                                     " approvals; withdraw those of studies that "
                                                     "have ended"));
  }
  approvals.push_back({std::string(study), std::string(plan_sha256), now});
  CSL_RETURN_IF_ERROR(Write(home, approvals));
  std::error_code ignored;  // nobody waits for it any more; one that stays does no harm
  std::filesystem::remove(WaitingPlanPath(home, plan_sha256), ignored);
  return absl::OkStatus();
}

absl::Status WithdrawApproval(const std::string& home, absl::string_view study,
                              absl::string_view plan_sha256) {
  CSL_ASSIGN_OR_RETURN(std::vector<PlanApproval> approvals, ReadApprovals(home));
  const size_t removed = std::erase_if(approvals, [&](const PlanApproval& approval) {
    return approval.study == study && (plan_sha256.empty() || approval.plan_sha256 == plan_sha256);
  });
  if (removed == 0) return absl::NotFoundError("there is no such approval");
  return Write(home, approvals);
}

}  // namespace consilium::agent
