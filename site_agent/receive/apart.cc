#include "site_agent/receive/apart.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr rlim_t kMemoryBytesMore = rlim_t{1} << 30;
constexpr size_t kResultBytesMax = size_t{64} << 20;
constexpr int kLookMilliseconds = 200;

// Address sanitizers reserve terabytes: under them the limit is theirs.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void LimitMemory() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  unsigned long pages = 0;
  const bool known = file != nullptr && std::fscanf(file, "%lu", &pages) == 1;
  if (file != nullptr) std::fclose(file);
  if (!known) return;
  const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + kMemoryBytesMore;
  const rlimit limit = {bytes, bytes};
  ::setrlimit(RLIMIT_AS, &limit);
}
#else
void LimitMemory() {}
#endif

void WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // the reader is gone: nobody is left to tell
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// The code, then the result or the message.
void SendResult(int fd, const absl::StatusOr<std::string>& result) {
  const char code = static_cast<char>(result.status().code());
  WriteAll(fd, absl::string_view(&code, 1));
  WriteAll(fd, result.ok() ? absl::string_view(*result) : result.status().message());
}

absl::StatusOr<std::string> ReadResult(int fd, const std::atomic<bool>& stop) {
  std::string text;
  char buffer[65536];
  while (true) {
    if (stop) return absl::CancelledError("stopped");
    pollfd waited = {fd, POLLIN, 0};
    if (::poll(&waited, 1, kLookMilliseconds) <= 0) continue;
    const ssize_t got = ::read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kResultBytesMax) {
      return absl::ResourceExhaustedError("the peer's answers are too many");
    }
  }
}

}  // namespace

absl::StatusOr<pid_t> ForkApart(const std::function<void()>& work) {
  std::fflush(nullptr);  // or both processes write what is buffered
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return absl::UnavailableError("no process can be made");
  if (child > 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const rlimit none = {0, 0};
  ::setrlimit(RLIMIT_CORE, &none);  // a core file holds a patient's data
  LimitMemory();
  work();
  std::fflush(nullptr);
  ::_exit(0);
}

absl::StatusOr<std::string> RunApart(const std::function<absl::StatusOr<std::string>()>& work,
                                     const std::atomic<bool>& stop) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::UnavailableError("no pipe can be made");
  const absl::StatusOr<pid_t> child = ForkApart([&] {
    ::close(ends[0]);
    SendResult(ends[1], work());
  });
  ::close(ends[1]);
  absl::StatusOr<std::string> text =
      child.ok() ? ReadResult(ends[0], stop) : absl::StatusOr<std::string>(child.status());
  ::close(ends[0]);
  if (!child.ok()) return text;
  if (!text.ok()) ::kill(*child, SIGKILL);
  int ended = 0;
  while (::waitpid(*child, &ended, 0) < 0 && errno == EINTR) {
  }
  CSL_RETURN_IF_ERROR(text.status());
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0 || text->empty()) {
    return absl::AbortedError("the process that read the peer's answers died");
  }
  const auto code = static_cast<absl::StatusCode>(text->front());
  text->erase(0, 1);
  if (code != absl::StatusCode::kOk) return absl::Status(code, *text);
  return text;
}

}  // namespace consilium::agent
