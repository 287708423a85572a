// What a person at the site has said yes to, in HOME/policy/approvals.json: a study and the digest
// of the plan that was looked at (HOME/policy/plans/DIGEST.json). Written by `consilium-agent
// policy approve`, read at each task.
//
// Thread-safe functions; of two that write at the same time one may be lost.
#ifndef CONSILIUM_SITE_AGENT_POLICY_APPROVALS_H_
#define CONSILIUM_SITE_AGENT_POLICY_APPROVALS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::agent {

struct PlanApproval {
  std::string study;
  std::string plan_sha256;  // 64 lower-case hex digits
  absl::Time time;
  friend bool operator==(const PlanApproval&, const PlanApproval&) = default;
};

// Where the plans that wait for an approval are kept for people to look at, each by its digest.
std::string WaitingPlanPath(const std::string& home, absl::string_view plan_sha256);
// Keeps the canonical JSON of a plan that was refused for want of an approval.
// RESOURCE_EXHAUSTED: kWaitingPlansMax others are there, or it is longer than a plan can be.
inline constexpr size_t kWaitingPlansMax = 100;
absl::Status KeepWaitingPlan(const std::string& home, absl::string_view plan_json);

// None yet: an empty list. DATA_LOSS: the file is damaged; nothing counts as approved then.
absl::StatusOr<std::vector<PlanApproval>> ReadApprovals(const std::string& home);

// OK for what AddApproval takes.
absl::Status CheckApproval(absl::string_view study, absl::string_view plan_sha256);
// Durable when it returns OK, and the kept plan is then gone; the same approval again changes
// nothing. INVALID_ARGUMENT: no study name, or not the SHA-256 of a plan. RESOURCE_EXHAUSTED: there
// are too many.
absl::Status AddApproval(const std::string& home, absl::string_view study,
                         absl::string_view plan_sha256, absl::Time now);
// Takes every approval of the study back, or only that of one plan. NOT_FOUND: there is none.
absl::Status WithdrawApproval(const std::string& home, absl::string_view study,
                              absl::string_view plan_sha256);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_APPROVALS_H_
