// Does a task keep to the site's policy? Pure: no file, no clock.
//
// Every value of a task is a claim by the coordinator; a comparison with one that is no number, is
// missing or negative never passes. Texts are for administrators on both sides: clause, what the
// site wants, what the task has; nothing of a patient, and nothing of the task's that was not
// bounded.
#ifndef CONSILIUM_SITE_AGENT_POLICY_JUDGE_H_
#define CONSILIUM_SITE_AGENT_POLICY_JUDGE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "site_agent/policy/site_policy.h"
#include "site_agent/policy/task_terms.h"

namespace consilium::agent {

inline constexpr size_t kDeclineBytesMax = 200;  // of a reason that travels (DeclineTaskRequest)

enum class Verdict {
  kHolds,
  kRefused,  // and will be for as long as plan and policy are what they are
  kUnsaid,   // what the clause needs is not known; refused where the terms are complete
  kLater,    // not now: the hours, the rounds of a day
};

struct Finding {
  std::string clause;  // as in policy.yaml: "secure_aggregation.min_cohort"
  Verdict verdict = Verdict::kHolds;
  std::string wanted;
  std::string got;
  std::optional<absl::Time> retry_at;  // kLater: not before
};

// Why a task is not worked on.
struct Refusal {
  std::string clause;
  std::string wanted;
  std::string got;
  std::string text;                    // the above as one line of at most kDeclineBytesMax bytes
  std::optional<absl::Time> retry_at;  // set: refused for now only; not before this time
  std::string detail;  // for the site's own log, never sent: what is wrong with its policy file
};

// Every clause that the policy has for such a task, in a fixed order, lasting ones first.
std::vector<Finding> JudgeAll(const SitePolicy& policy, const TaskTerms& terms,
                              const PolicyState& state);

// The first clause that the task does not keep to, lasting ones before those of time. None: it may
// be worked on.
std::optional<Refusal> Judge(const SitePolicy& policy, const TaskTerms& terms,
                             const PolicyState& state);

Refusal RefusalFrom(const Finding& finding);
// For a policy, or what belongs to it, that is there and cannot be used. Only `detail` says why.
Refusal UnusablePolicy(const absl::Status& why);

// A refusal on its way through code that knows statuses only: FAILED_PRECONDITION, or UNAVAILABLE
// where it is for now only; the message is the text.
absl::Status ToStatus(const Refusal& refusal);
// The refusal that a status carries; none: the status is about something else.
std::optional<Refusal> RefusalIn(const absl::Status& status);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_JUDGE_H_
