// SIGTERM and SIGINT as a flag: the program finishes its step, keeps what it has and ends.
#ifndef CONSILIUM_SITE_AGENT_STOP_SIGNAL_H_
#define CONSILIUM_SITE_AGENT_STOP_SIGNAL_H_

#include <atomic>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace consilium::agent {

// Made once, by main(), before any other thread: threads inherit that the signals are blocked.
// A second signal ends the process at once. Thread-safe.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  const std::atomic<bool>& requested() const { return requested_; }
  // Waits; false at once when a stop is or gets requested.
  bool Sleep(absl::Duration duration);
  // Called on the watching thread when the stop comes, or now if it has come. After a further
  // OnStop has returned, the action before it is not running and will not run.
  void OnStop(std::function<void()> action);

 private:
  void Watch();
  void Request();

  std::atomic<bool> requested_{false};
  std::atomic<bool> done_{false};
  absl::Mutex mutex_;
  absl::CondVar changed_;
  absl::Mutex action_mutex_;  // held while the action runs: what it refers to must not go away
  std::function<void()> action_ ABSL_GUARDED_BY(action_mutex_);
  std::thread watcher_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_STOP_SIGNAL_H_
