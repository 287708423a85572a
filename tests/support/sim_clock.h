// A clock that stands still until a test moves it.
#ifndef CONSILIUM_TESTS_SUPPORT_SIM_CLOCK_H_
#define CONSILIUM_TESTS_SUPPORT_SIM_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/check.h"
#include "proto/base/clock.h"

namespace consilium::testing {

// Thread-safe.
class SimClock final : public Clock {
 public:
  // 2025-01-01T00:00:00Z unless told otherwise: a fixed date keeps golden output stable.
  explicit SimClock(absl::Time start = absl::FromUnixSeconds(1735689600)) : now_(start) {}

  absl::Time Now() const override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  absl::Duration Monotonic() const override {
    absl::MutexLock lock(&mutex_);
    return monotonic_;
  }

  // Both clocks go forward by `step` (>= 0).
  void Advance(absl::Duration step) {
    CSL_CHECK(step >= absl::ZeroDuration());
    absl::MutexLock lock(&mutex_);
    now_ += step;
    monotonic_ += step;
  }

  // The wall clock alone jumps, as after a correction by NTP.
  void SetWallClock(absl::Time now) {
    absl::MutexLock lock(&mutex_);
    now_ = now;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::Duration monotonic_ ABSL_GUARDED_BY(mutex_) = absl::Hours(1);
};

}  // namespace consilium::testing

#endif  // CONSILIUM_TESTS_SUPPORT_SIM_CLOCK_H_
