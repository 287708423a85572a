// Does the tasks of a round: one function a kind, each from the task to the result that is spooled.
#ifndef CONSILIUM_SITE_AGENT_ROUND_TASK_RUNNER_H_
#define CONSILIUM_SITE_AGENT_ROUND_TASK_RUNNER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/base/clock.h"
#include "site_agent/agent_options.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/spool.h"
#include "site_agent/policy/site_policy.h"
#include "site_agent/round/task_door.h"
#include "site_agent/round/task_monitor.h"

namespace consilium::agent {

// Where a task is worked on. Everything referred to must outlive the task.
struct TaskSite {
  std::string home;
  AgentOptions options;
  Federation& remote;
  Spool& spool;
  const Clock& clock;
  const MaskingSite* masking = nullptr;  // null: masked tasks are declined
  // The site's rules, and what records how they are kept. Null where no policy is at work, as in a
  // test of something else: nothing is then counted, and patient-level privacy cannot be promised.
  TaskDoor* door = nullptr;
  // Of this task, as the door let it in; null: no rules.
  const SitePolicy* policy = nullptr;
};

// Errors of each: what TaskMonitor::Check says, what the download says, FAILED_PRECONDITION when
// the site has no case for the task, INVALID_ARGUMENT when plan, model and data do not fit.
absl::StatusOr<FinishedTask> RunPrepare(const TaskSite& site, const SiteTask& task,
                                        TaskMonitor& monitor);
absl::StatusOr<FinishedTask> RunInitialise(const TaskSite& site, const SiteTask& task,
                                           TaskMonitor& monitor);
absl::StatusOr<FinishedTask> RunTrain(const TaskSite& site, const SiteTask& task,
                                      TaskMonitor& monitor);
absl::StatusOr<FinishedTask> RunEvaluate(const TaskSite& site, const SiteTask& task,
                                         TaskMonitor& monitor);

absl::StatusOr<FinishedTask> RunTask(const TaskSite& site, const SiteTask& task,
                                     TaskMonitor& monitor);

// HOME/models/<sha256>.safetensors, downloaded if it is not there; other models there are removed.
absl::StatusOr<std::string> FetchModel(const TaskSite& site, const ModelRef& model,
                                       TaskMonitor& monitor);
// The same of SCAFFOLD's control variate of the server, in HOME/controls.
absl::StatusOr<std::string> FetchControl(const TaskSite& site, const ModelRef& control,
                                         TaskMonitor& monitor);

// The plan by which this site selects cases: the study's, with the site's own series rules beside.
wire::Plan SelectionPlan(const TaskSite& site, const SiteTask& task);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_TASK_RUNNER_H_
