// How long to wait before the next attempt: exponential, full jitter, bounded.
//
// Full jitter (uniform between nothing and the bound) keeps the sites of a federation from coming
// back all at once after their coordinator was away.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_BACKOFF_H_
#define CONSILIUM_SITE_AGENT_UPLINK_BACKOFF_H_

#include <functional>
#include <utility>

#include "absl/time/time.h"

namespace consilium::agent {

struct BackoffOptions {
  absl::Duration first = absl::Seconds(1);  // bound of the first wait; doubles with each failure
  absl::Duration max = absl::Seconds(30);   // bound of every wait
  absl::Duration min = absl::Milliseconds(50);  // of every wait, so that no draw gives a busy loop
};

// Immutable; thread-safe if `uniform` is.
class Backoff {
 public:
  // `uniform` draws from [0, 1).
  Backoff(BackoffOptions options, std::function<double()> uniform)
      : options_(options), uniform_(std::move(uniform)) {}

  // The wait after `failures` (>= 1) failures in a row.
  absl::Duration Delay(int failures) const;
  // What Delay(failures) never exceeds.
  absl::Duration Bound(int failures) const;

 private:
  BackoffOptions options_;
  std::function<double()> uniform_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_BACKOFF_H_
