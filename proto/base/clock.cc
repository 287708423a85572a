#include "proto/base/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace consilium {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
  absl::Duration Monotonic() const override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace

Clock& Clock::System() {
  static SystemClock* const clock = new SystemClock;
  return *clock;
}

}  // namespace consilium
