#include "coordinator/round/task_waiters.h"

namespace consilium::coordinator {

uint64_t TaskWaiters::Add(absl::string_view site, absl::Duration until, TaskAnswer answer) {
  waiters_.emplace(++last_id_, Waiter{std::string(site), until, std::move(answer)});
  return last_id_;
}

TaskAnswer TaskWaiters::Take(uint64_t id) {
  const auto it = waiters_.find(id);
  if (it == waiters_.end()) return {};
  TaskAnswer answer = std::move(it->second.answer);
  waiters_.erase(it);
  return answer;
}

std::vector<TaskAnswer> TaskWaiters::TakeExpired(absl::Duration now) {
  std::vector<TaskAnswer> answers;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    answers.push_back(std::move(it->second.answer));
    it = waiters_.erase(it);
  }
  return answers;
}

std::vector<TaskAnswer> TaskWaiters::TakeAll() {
  return TakeExpired(absl::InfiniteDuration());
}

std::vector<std::pair<uint64_t, std::string>> TaskWaiters::List() const {
  std::vector<std::pair<uint64_t, std::string>> list;
  list.reserve(waiters_.size());
  for (const auto& [id, waiter] : waiters_) list.emplace_back(id, waiter.site);
  return list;
}

}  // namespace consilium::coordinator
