#include "proto/base/supervisor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "absl/strings/numbers.h"

namespace consilium {

void NotifySupervisor(absl::string_view state) {
  const char* name = ::getenv("NOTIFY_SOCKET");
  if (name == nullptr || (name[0] != '/' && name[0] != '@')) return;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t size = std::strlen(name);
  if (size < 2 || size >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, name, size);
  if (name[0] == '@') address.sun_path[0] = '\0';  // Linux's abstract names
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  // A full queue must not hold up the loop that reports.
  (void)::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                 reinterpret_cast<const sockaddr*>(&address), length);
  ::close(fd);
}

absl::Duration SupervisorInterval() {
  const char* microseconds = ::getenv("WATCHDOG_USEC");
  const char* pid = ::getenv("WATCHDOG_PID");
  int64_t value = 0, wanted = 0;
  if (microseconds == nullptr || !absl::SimpleAtoi(microseconds, &value) || value <= 0) {
    return absl::InfiniteDuration();
  }
  if (pid != nullptr && (!absl::SimpleAtoi(pid, &wanted) || wanted != ::getpid())) {
    return absl::InfiniteDuration();
  }
  return absl::Microseconds(value) / 2;
}

}  // namespace consilium
