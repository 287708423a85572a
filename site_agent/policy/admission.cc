#include "site_agent/policy/admission.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/policy/approvals.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr size_t kDaysKept = 3;  // for a clock that is set back, and for zones
constexpr size_t kTaskIdBytesMax = 256;
constexpr uint64_t kBytesMax = 16 << 20;

// Task ids by local day ("2026-05-01").
using Days = std::map<std::string, std::set<std::string>>;

std::string RoundsPath(const std::string& home) { return JoinPath(home, "policy/rounds.json"); }

absl::Status Damaged() {
  return absl::DataLossError(
      "policy/rounds.json is damaged; remove it to begin to count the rounds of today anew");
}

std::string DayOf(absl::Time now, const absl::TimeZone& zone) {
  return absl::FormatTime("%Y-%m-%d", now, zone);
}

absl::StatusOr<Days> ReadDays(const std::string& home) {
  Days days;
  const absl::StatusOr<std::string> text = ReadFile(RoundsPath(home), kBytesMax);
  if (absl::IsNotFound(text.status())) return days;
  CSL_RETURN_IF_ERROR(text.status());
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("v", Json()) != kVersion) return Damaged();
  const auto list = json.find("days");
  if (list == json.end() || !list->is_object()) return Damaged();
  for (const auto& [day, ids] : list->items()) {
    if (!ids.is_array()) return Damaged();
    for (const Json& id : ids) {
      if (!id.is_string()) return Damaged();
      days[day].insert(id.get<std::string>());
    }
  }
  return days;
}

}  // namespace

absl::TimeZone ZoneOf(const SitePolicy& policy, const absl::TimeZone& machine) {
  absl::TimeZone zone;
  if (!policy.time_zone.empty() && absl::LoadTimeZone(policy.time_zone, &zone)) return zone;
  return machine;
}

absl::StatusOr<int64_t> RoundsToday(const std::string& home, absl::string_view task_id,
                                    absl::Time now, const absl::TimeZone& zone) {
  CSL_ASSIGN_OR_RETURN(const Days days, ReadDays(home));
  const auto today = days.find(DayOf(now, zone));
  if (today == days.end()) return 0;
  return std::count_if(today->second.begin(), today->second.end(),
                       [&](const std::string& id) { return id != task_id; });
}

absl::Status NoteTraining(const std::string& home, absl::string_view task_id, absl::Time now,
                          const absl::TimeZone& zone) {
  if (task_id.size() > kTaskIdBytesMax) return absl::InvalidArgumentError("task id: too long");
  CSL_ASSIGN_OR_RETURN(Days days, ReadDays(home));
  if (!days[DayOf(now, zone)].emplace(task_id).second) return absl::OkStatus();
  while (days.size() > kDaysKept) days.erase(days.begin());
  const Json json = {{"v", kVersion}, {"days", days}};
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(home, "policy")));
  return WriteFileAtomic(RoundsPath(home),
                         json.dump(-1, ' ', false, Json::error_handler_t::replace), kPrivateFile);
}

absl::StatusOr<LoadedPolicy> AdmitTask(const std::string& home, const TaskTerms& terms) {
  absl::StatusOr<LoadedPolicy> loaded = ReadPolicy(home);
  if (!loaded.ok()) return ToStatus(UnusablePolicy(loaded.status()));
  const SitePolicy& policy = loaded->policy;
  PolicyState state;
  if (policy.approval != Approval::kNone) {
    const absl::StatusOr<std::vector<PlanApproval>> approvals = ReadApprovals(home);
    if (!approvals.ok()) return ToStatus(UnusablePolicy(approvals.status()));
    for (const PlanApproval& approval : *approvals) {
      if (approval.study != terms.study) continue;
      state.study_approved = true;
      if (approval.plan_sha256 == terms.plan_sha256) state.plan_approved = true;
    }
  }
  if (policy.rounds_per_day && terms.trains) {
    const absl::StatusOr<int64_t> rounds =
        RoundsToday(home, terms.task_id, terms.now, ZoneOf(policy, terms.zone));
    if (!rounds.ok()) return ToStatus(UnusablePolicy(rounds.status()));
    state.rounds_today = *rounds;
  }
  if (const std::optional<Refusal> refusal = Judge(policy, terms, state)) {
    return ToStatus(*refusal);
  }
  return loaded;
}

wire::Plan ApplyToPlan(const SitePolicy& policy, wire::Plan plan) {
  const auto add = [&](std::vector<wire::SeriesRule>& rules) {
    rules.insert(rules.end(), policy.series_rules.begin(), policy.series_rules.end());
  };
  add(plan.series_rules);
  for (wire::PlanChannel& channel : plan.channels) add(channel.series_rules);
  return plan;
}

}  // namespace consilium::agent
