// Watches one task while it is worked on: sends its progress and heartbeats, and notices when to give
// it up. A heartbeat goes out every third of the task's lease, whether or not there is progress: it
// repeats the last one reported, with the count of what was reported (TaskProgress::advances), by which
// the coordinator tells work that advances from work that hangs. So whatever takes long has to report.
// Of a masked task no loss is reported: it travels in the masked words only.
#ifndef CONSILIUM_SITE_AGENT_ROUND_TASK_MONITOR_H_
#define CONSILIUM_SITE_AGENT_ROUND_TASK_MONITOR_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/clock.h"
#include "proto/base/thread_pool.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

// Report is called from the task's thread and never waits for the network; of reports that find one
// still on its way, the last is sent. `remote`, `stop` and `clock` must outlive it. The destructor
// waits for a report on its way.
class TaskMonitor {
 public:
  TaskMonitor(const SiteTask& task, Federation& remote, const std::atomic<bool>& stop,
              const Clock& clock);
  ~TaskMonitor();

  void Report(TaskPhase phase, int64_t done, int64_t total, double loss = 0);
  // Work advanced that has no numbers of its own, within the phase reported last. Cheap.
  void Advance();

  // Work beside the task's thread cannot go on: Check says `why` from now on. The first one counts.
  void GiveUp(absl::Status why);

  // Becomes true when the task is to be given up; looked at by Report and Check.
  const std::atomic<bool>* halt() const { return &halt_; }
  // OK, or why the task is given up. What GiveUp was told. CANCELLED: the agent is stopping. DEADLINE_EXCEEDED.
  // ABORTED: the coordinator no longer awaits the result.
  absl::Status Check();

 private:
  bool Due(TaskPhase phase, bool last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendReports();  // the sender's thread

  Federation& remote_;
  const std::atomic<bool>& stop_;
  const Clock& clock_;
  const absl::Duration ends_;  // on the monotonic clock
  const absl::Duration heartbeat_;
  const bool tells_loss_;
  std::atomic<bool> halt_{false};
  std::atomic<bool> moved_on_{false};
  absl::Mutex mutex_;
  absl::CondVar woken_;
  TaskProgress last_ ABSL_GUARDED_BY(mutex_);
  absl::Status given_up_ ABSL_GUARDED_BY(mutex_);
  bool pending_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration last_due_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  ThreadPool sender_{1};  // last: its destructor runs what uses the members above
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_TASK_MONITOR_H_
