// One agent a home: an advisory lock on HOME/agent.lock, gone with the process.
#ifndef CONSILIUM_SITE_AGENT_HOME_LOCK_H_
#define CONSILIUM_SITE_AGENT_HOME_LOCK_H_

#include <string>

#include "absl/status/statusor.h"

namespace consilium::agent {

class HomeLock {
 public:
  // FAILED_PRECONDITION: somebody holds it.
  static absl::StatusOr<HomeLock> Take(const std::string& home);
  static bool IsHeld(const std::string& home);

  HomeLock(HomeLock&& other) noexcept;
  HomeLock& operator=(HomeLock&&) = delete;
  ~HomeLock();

 private:
  explicit HomeLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_HOME_LOCK_H_
