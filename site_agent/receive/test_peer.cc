#include "site_agent/receive/test_peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

constexpr int kProgramSecondsMax = 60;

// kEndsWithUs: it dies with the thread that made it, however that ends.
enum class Life { kItsOwn, kEndsWithUs };
pid_t Spawn(const std::vector<std::string>& command, int output, Life life) {
  std::vector<char*> arguments;
  for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) return child;
  if (life == Life::kEndsWithUs) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
  }
  ::setenv("TCP_NODELAY", "1", 1);
  ::setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin", 1);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

bool MakeCertificate(const std::string& folder, const std::string& name,
                     const std::vector<std::string>& issuer) {
  std::vector<std::string> command = {"openssl",  "req",
                                      "-x509",    "-newkey",
                                      "rsa:2048", "-nodes",
                                      "-days",    "2",
                                      "-subj",    "/CN=" + name,
                                      "-keyout",  JoinPath(folder, name + ".key"),
                                      "-out",     JoinPath(folder, name + ".crt")};
  command.insert(command.end(), issuer.begin(), issuer.end());
  return RunProgram(command).exit_code == 0;
}

}  // namespace

bool HasProgram(const std::string& name) {
  return PathExists("/usr/bin/" + name) || PathExists("/usr/sbin/" + name);
}

ProgramResult RunProgram(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  std::vector<std::string> timed = {"timeout", absl::StrCat(kProgramSecondsMax)};
  timed.insert(timed.end(), command.begin(), command.end());
  const pid_t child = Spawn(timed, ends[1], Life::kItsOwn);
  ::close(ends[1]);
  ProgramResult result;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof(buffer))) > 0;) {
    result.output.append(buffer, static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int ended = 0;
  ::waitpid(child, &ended, 0);
  if (WIFEXITED(ended)) result.exit_code = WEXITSTATUS(ended);
  return result;
}

BackgroundProgram::BackgroundProgram(const std::vector<std::string>& command) {
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  pid_ = Spawn(command, nowhere, Life::kEndsWithUs);
  ::close(nowhere);
}

BackgroundProgram::~BackgroundProgram() {
  ::kill(pid_, SIGTERM);
  for (int i = 0; i < 100; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    absl::SleepFor(absl::Milliseconds(50));
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

int ConnectTo(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool WaitForPort(int port) {
  const absl::Duration end = Clock::System().Monotonic() + absl::Seconds(20);
  while (Clock::System().Monotonic() < end) {
    if (const int fd = ConnectTo(port); fd >= 0) {
      ::close(fd);
      return true;
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return false;
}

bool MakeTlsCertificate(const std::string& folder, const std::string& name) {
  return MakeCertificate(folder, name, {"-CA", folder + "/ca.crt", "-CAkey", folder + "/ca.key"});
}

bool MakeTlsFiles(const std::string& folder) {
  return MakeDirs(folder).ok() && MakeCertificate(folder, "ca", {}) &&
         MakeTlsCertificate(folder, "site") && MakeTlsCertificate(folder, "scanner") &&
         MakeCertificate(folder, "stranger", {});
}

}  // namespace consilium::agent
