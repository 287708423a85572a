#include "site_agent/round/task_monitor.h"

#include <algorithm>
#include <utility>

namespace consilium::agent {
namespace {

constexpr absl::Duration kReportInterval = absl::Seconds(1);
constexpr int kHeartbeatsPerLease = 3;  // so that two may be lost
constexpr absl::Duration kHeartbeatMin = absl::Milliseconds(10);

}  // namespace

TaskMonitor::TaskMonitor(const SiteTask& task, Federation& remote, const std::atomic<bool>& stop,
                         const Clock& clock)
    : remote_(remote),
      stop_(stop),
      clock_(clock),
      ends_(clock.Monotonic() + task.deadline),
      heartbeat_(std::max(task.lease / kHeartbeatsPerLease, kHeartbeatMin)),
      tells_loss_(!task.masking.has_value()) {
  last_.task_id = task.task_id;
  sender_.Schedule([this] { SendReports(); });
}

TaskMonitor::~TaskMonitor() {
  absl::MutexLock lock(&mutex_);
  closing_ = true;
  woken_.Signal();
}

bool TaskMonitor::Due(TaskPhase phase, bool last) {
  const absl::Duration now = clock_.Monotonic();
  if (!last && phase == last_.phase && now - last_due_ < kReportInterval) return false;
  last_due_ = now;
  return true;
}

void TaskMonitor::Report(TaskPhase phase, int64_t done, int64_t total, double loss) {
  if (!Check().ok()) return;
  absl::MutexLock lock(&mutex_);
  const bool due = Due(phase, total > 0 && done == total);
  const bool moved = phase != last_.phase || done != last_.done || total != last_.total;
  last_ = {last_.task_id, phase,
           done,          total,
           tells_loss_ ? loss : 0, last_.advances + (moved ? 1 : 0)};
  if (!due) return;
  pending_ = true;
  woken_.Signal();
}

void TaskMonitor::Advance() {
  absl::MutexLock lock(&mutex_);
  ++last_.advances;
}

void TaskMonitor::GiveUp(absl::Status why) {
  absl::MutexLock lock(&mutex_);
  given_up_.Update(std::move(why));
  halt_ = true;
}

void TaskMonitor::SendReports() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    bool rested = false;
    while (!pending_ && !closing_ && !rested) {
      rested = woken_.WaitWithTimeout(&mutex_, heartbeat_);
    }
    if (closing_ && !pending_) return;
    pending_ = false;
    const TaskProgress progress = last_;
    // That a report did not arrive matters little: the next one is on its way soon. That the
    // coordinator has moved on matters: there is no use in finishing.
    mutex_.Unlock();
    if (absl::IsFailedPrecondition(remote_.ReportProgress(progress))) moved_on_ = halt_ = true;
    mutex_.Lock();
  }
}

absl::Status TaskMonitor::Check() {
  absl::Status status;
  if (stop_) {
    status = absl::CancelledError("the agent is stopping");
  } else if (moved_on_) {
    status = absl::AbortedError("the coordinator no longer awaits the result");
  } else if (clock_.Monotonic() > ends_) {
    status = absl::DeadlineExceededError("the task's deadline has passed");
  } else {
    absl::MutexLock lock(&mutex_);
    status = given_up_;
  }
  if (!status.ok()) halt_ = true;
  return status;
}

}  // namespace consilium::agent
