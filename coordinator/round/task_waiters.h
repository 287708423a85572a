// Sites whose question for work is held: who asks, until when, and what to call. A waiting site costs
// an entry here and no thread.
//
// Not thread-safe. Each answer is given out exactly once, by one of the Take calls.
#ifndef CONSILIUM_COORDINATOR_ROUND_TASK_WAITERS_H_
#define CONSILIUM_COORDINATOR_ROUND_TASK_WAITERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/round/study_run.h"

namespace consilium::coordinator {

// Must not block, and may be called on any thread. nullopt: nothing to do for now.
using TaskAnswer = std::function<void(std::optional<SiteTask>)>;

class TaskWaiters {
 public:
  // Returns the waiter's id, never 0. `until` is on the monotonic clock.
  uint64_t Add(absl::string_view site, absl::Duration until, TaskAnswer answer);
  // Empty if it was taken before.
  TaskAnswer Take(uint64_t id);
  std::vector<TaskAnswer> TakeExpired(absl::Duration now);
  std::vector<TaskAnswer> TakeAll();
  // Id and site of each, longest waiting first.
  std::vector<std::pair<uint64_t, std::string>> List() const;
  bool empty() const { return waiters_.empty(); }

 private:
  struct Waiter {
    std::string site;
    absl::Duration until;
    TaskAnswer answer;
  };
  std::map<uint64_t, Waiter> waiters_;
  uint64_t last_id_ = 0;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_TASK_WAITERS_H_
