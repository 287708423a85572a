#include "site_agent/stop_signal.h"

#include <unistd.h>

#include <csignal>
#include <ctime>
#include <utility>

#include "proto/base/clock.h"

namespace consilium::agent {
namespace {

constexpr timespec kLookInterval = {0, 100'000'000};
constexpr int kSecondSignalExit = 130;

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

StopSignal::StopSignal() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a reader of stdout that went away is a write error, not the end
  watcher_ = std::thread([this] { Watch(); });
}

StopSignal::~StopSignal() {
  done_ = true;
  watcher_.join();
}

void StopSignal::Watch() {
  const sigset_t set = StopSignals();
  while (!done_) {
    if (sigtimedwait(&set, nullptr, &kLookInterval) < 0) continue;
    if (requested_) ::_exit(kSecondSignalExit);
    Request();
  }
}

void StopSignal::Request() {
  {
    absl::MutexLock lock(&mutex_);
    requested_ = true;
    changed_.SignalAll();
  }
  absl::MutexLock lock(&action_mutex_);
  if (action_) action_();
}

bool StopSignal::Sleep(absl::Duration duration) {
  const Clock& clock = Clock::System();
  const absl::Duration end = clock.Monotonic() + duration;
  absl::MutexLock lock(&mutex_);
  while (!requested_) {
    const absl::Duration left = end - clock.Monotonic();
    if (left <= absl::ZeroDuration()) return true;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return false;
}

void StopSignal::OnStop(std::function<void()> action) {
  absl::MutexLock lock(&action_mutex_);
  action_ = std::move(action);
  if (requested_ && action_) action_();
}

}  // namespace consilium::agent
