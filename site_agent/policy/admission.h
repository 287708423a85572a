// The one door of a site: every task passes here before anything of the site's is looked at for it.
//
//   AdmitTask        before the task: reads policy, approvals and the day's count, and judges
//   NoteTraining     when training is about to begin: counts towards the rounds of the day
//   ApplyToPlan      the plan by which cases are selected, with the site's own series rules
//
// What was refused, with clause and text, belongs in the site's own log and in the reason that the
// coordinator gets; RefusalIn (judge.h) takes it out of the status.
#ifndef CONSILIUM_SITE_AGENT_POLICY_ADMISSION_H_
#define CONSILIUM_SITE_AGENT_POLICY_ADMISSION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/judge.h"
#include "site_agent/policy/site_policy.h"
#include "site_agent/policy/task_terms.h"

namespace consilium::agent {

// The policy under which the task may be worked on, as the files are now. Every error carries a
// Refusal: FAILED_PRECONDITION for one that lasts (also where the policy cannot be used),
// UNAVAILABLE for one with a time after which to ask again.
absl::StatusOr<LoadedPolicy> AdmitTask(const std::string& home, const TaskTerms& terms);

// Counts a training on the local day of `now`, durably; the same task counts once. DATA_LOSS: the
// count is damaged. `zone`: ZoneOf.
absl::Status NoteTraining(const std::string& home, absl::string_view task_id, absl::Time now,
                          const absl::TimeZone& zone);
// Of this local day, without `task_id` (a task that is taken up again is no further round).
absl::StatusOr<int64_t> RoundsToday(const std::string& home, absl::string_view task_id,
                                    absl::Time now, const absl::TimeZone& zone);

// The policy's zone, or the machine's.
absl::TimeZone ZoneOf(const SitePolicy& policy, const absl::TimeZone& machine);

// `plan` with the site's series rules beside its own, for SelectCohort. Not for a digest, nor for
// anything that is sent.
wire::Plan ApplyToPlan(const SitePolicy& policy, wire::Plan plan);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_ADMISSION_H_
