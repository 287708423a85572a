#include "site_agent/round/task_monitor.h"

namespace consilium::agent {
namespace {

constexpr absl::Duration kReportInterval = absl::Seconds(1);

}  // namespace

TaskMonitor::TaskMonitor(const SiteTask& task, Federation& remote, const std::atomic<bool>& stop,
                         const Clock& clock)
    : task_id_(task.task_id),
      remote_(remote),
      stop_(stop),
      clock_(clock),
      ends_(clock.Monotonic() + task.deadline) {}

bool TaskMonitor::Due(TaskPhase phase, bool last) {
  if (sending_) return false;
  const absl::Duration now = clock_.Monotonic();
  if (!last && phase == last_phase_ && now - last_sent_ < kReportInterval) return false;
  sending_ = true;
  last_sent_ = now;
  last_phase_ = phase;
  return true;
}

void TaskMonitor::Report(TaskPhase phase, int64_t done, int64_t total, double loss) {
  if (!Check().ok()) return;
  {
    absl::MutexLock lock(&mutex_);
    if (!Due(phase, total > 0 && done == total)) return;
  }
  sender_.Schedule([this, progress = TaskProgress{task_id_, phase, done, total, loss}] {
    Send(progress);
  });
}

void TaskMonitor::Send(const TaskProgress& progress) {
  // Progress is a courtesy: that it did not arrive matters to nobody but the person who watches.
  // That the round has moved on matters: there is no use in finishing.
  const absl::Status status = remote_.ReportProgress(progress);
  if (absl::IsFailedPrecondition(status)) moved_on_ = true;
  absl::MutexLock lock(&mutex_);
  sending_ = false;
}

absl::Status TaskMonitor::Check() {
  absl::Status status;
  if (stop_) {
    status = absl::CancelledError("the agent is stopping");
  } else if (moved_on_) {
    status = absl::FailedPreconditionError("the coordinator has moved on");
  } else if (clock_.Monotonic() > ends_) {
    status = absl::DeadlineExceededError("the task's deadline has passed");
  }
  if (!status.ok()) halt_ = true;
  return status;
}

}  // namespace consilium::agent
