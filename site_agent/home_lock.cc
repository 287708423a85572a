#include "site_agent/home_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <utility>

#include "proto/base/file.h"

namespace consilium::agent {
namespace {

std::string LockPath(const std::string& home) { return JoinPath(home, "agent.lock"); }

}  // namespace

absl::StatusOr<HomeLock> HomeLock::Take(const std::string& home) {
  const int fd = ::open(LockPath(home).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
  if (fd < 0) return absl::FailedPreconditionError("agent.lock cannot be made in the home");
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return absl::FailedPreconditionError("another agent runs on this home");
  }
  return HomeLock(fd);
}

bool HomeLock::IsHeld(const std::string& home) {
  const int fd = ::open(LockPath(home).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
  ::close(fd);
  return held;
}

HomeLock::HomeLock(HomeLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

HomeLock::~HomeLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace consilium::agent
