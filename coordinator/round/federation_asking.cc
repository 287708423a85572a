// The part of FederationDriver that holds sites' questions for work and answers them.
#include <algorithm>
#include <utility>

#include "coordinator/round/federation_driver.h"

namespace consilium::coordinator {
namespace {

// How late the end of a wait may be noticed. Some tasks fall due by time alone, too (a site without a
// case is asked again).
constexpr absl::Duration kSweepEvery = absl::Seconds(1);

}  // namespace

std::optional<SiteTask> FederationDriver::TaskNow(const std::vector<RunPtr>& runs,
                                                  absl::string_view site) const {
  const absl::Time now = Now();
  bool low_on_space = false;
  {
    absl::MutexLock lock(&mutex_);
    low_on_space = low_on_space_;
  }
  std::optional<SiteTask> oldest;
  for (const RunPtr& run : runs) {
    std::optional<SiteTask> task = run->TaskFor(site, now);
    if (!task || (oldest && oldest->since_us <= task->since_us)) continue;
    // There would be no room for what comes of it.
    const bool uploads = task->kind == TaskKind::kTrain || task->kind == TaskKind::kInitialise;
    if (!uploads || !low_on_space) oldest = std::move(task);
  }
  return oldest;
}

uint64_t FederationDriver::AskTask(absl::string_view site, absl::Duration wait, TaskAnswer answer) {
  const absl::Duration until = clock_.Monotonic() + std::min(wait, kTaskWaitMax);
  uint64_t seen = 0;
  std::vector<RunPtr> runs;
  {
    absl::MutexLock lock(&mutex_);
    seen = revision_;
    liveness_.Heard(site, Now());
    liveness_.Rests(site);
    if (!draining_) runs = RunsLocked();
  }
  std::optional<SiteTask> task = TaskNow(runs, site);
  if (!task && wait > absl::ZeroDuration()) {
    absl::MutexLock lock(&mutex_);
    if (!draining_) {
      const uint64_t id = waiters_.Add(site, until, std::move(answer));
      if (revision_ != seen) ScheduleWake();  // something changed since we looked
      return id;
    }
  }
  answer(std::move(task));
  return 0;
}

void FederationDriver::CancelAsk(uint64_t id) {
  absl::MutexLock lock(&mutex_);
  TaskAnswer answer = waiters_.Take(id);
  // Not on the caller's thread, which may hold what the answer needs.
  if (answer) waker_.Schedule([answer = std::move(answer)] { answer(std::nullopt); });
}

std::vector<std::string> FederationDriver::EndedTasks(absl::string_view site,
                                                      std::vector<std::string> task_ids) const {
  if (task_ids.empty()) return task_ids;
  const absl::Time now = Now();
  const std::vector<RunPtr> runs = Runs();
  std::erase_if(task_ids, [&](const std::string& task_id) {
    return std::any_of(runs.begin(), runs.end(),
                       [&](const RunPtr& run) { return run->Needs(site, task_id, now); });
  });
  return task_ids;
}

void FederationDriver::ScheduleWake() {
  if (wake_scheduled_ || waiters_.empty()) return;
  wake_scheduled_ = true;
  waker_.Schedule([this] { WakeWaiters(); });
}

void FederationDriver::WakeWaiters() {
  std::vector<RunPtr> runs;
  std::vector<std::pair<uint64_t, std::string>> waiting;
  {
    absl::MutexLock lock(&mutex_);
    wake_scheduled_ = false;  // a change from here on needs another pass
    runs = RunsLocked();
    waiting = waiters_.List();
  }
  for (const auto& [id, site] : waiting) {
    std::optional<SiteTask> task = TaskNow(runs, site);
    if (!task) continue;
    TaskAnswer answer;
    {
      absl::MutexLock lock(&mutex_);
      answer = waiters_.Take(id);
    }
    if (answer) answer(std::move(task));
  }
}

void FederationDriver::SweepNow() {
  const absl::Duration now = clock_.Monotonic();
  {
    absl::MutexLock lock(&mutex_);
    if (now - swept_ < kSweepEvery) return;
    swept_ = now;
  }
  ExpireWaiters(now);
  WatchUploads();
  WatchSpace();
}

void FederationDriver::ExpireWaiters(absl::Duration now) {
  const absl::Time heard = Now();
  absl::MutexLock lock(&mutex_);
  // Who waits is there: its connection is probed, and a dead one cancels the question.
  for (const auto& [id, site] : waiters_.List()) liveness_.Heard(site, heard);
  for (TaskAnswer& answer : waiters_.TakeExpired(now)) {
    waker_.Schedule([answer = std::move(answer)] { answer(std::nullopt); });
  }
  ScheduleWake();
}

}  // namespace consilium::coordinator
