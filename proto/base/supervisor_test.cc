#include "proto/base/supervisor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium {
namespace {

std::string Received(int fd) {
  char buffer[256];
  const ssize_t n = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "";
}

int Bind(const std::string& name) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  return fd;
}

TEST(SupervisorTest, StatesReachPathAndAbstractSockets) {
  const auto folder = TempDir::Create("supervisor");
  ASSERT_TRUE(folder.ok());
  for (const std::string& name :
       {JoinPath(folder->path(), "notify"), absl::StrCat("@consilium-test-", ::getpid())}) {
    const int fd = Bind(name);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    NotifySupervisor(kSupervisorReady);
    EXPECT_EQ(Received(fd), "READY=1");
    ::close(fd);
    NotifySupervisor(kSupervisorAlive);  // nobody listens any more: no harm
  }
  ::unsetenv("NOTIFY_SOCKET");
  NotifySupervisor(kSupervisorReady);
}

TEST(SupervisorTest, TheIntervalIsHalfOfWhatTheUnitAllowsThisProcess) {
  ::unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(SupervisorInterval(), absl::InfiniteDuration());
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(SupervisorInterval(), absl::Seconds(15));
  ::setenv("WATCHDOG_PID", absl::StrCat(::getpid()).c_str(), 1);
  EXPECT_EQ(SupervisorInterval(), absl::Seconds(15));
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(SupervisorInterval(), absl::InfiniteDuration()) << "meant for another process";
  ::setenv("WATCHDOG_USEC", "soon", 1);
  EXPECT_EQ(SupervisorInterval(), absl::InfiniteDuration());
  ::unsetenv("WATCHDOG_USEC");
  ::unsetenv("WATCHDOG_PID");
}

}  // namespace
}  // namespace consilium
