// Time as a dependency, so that rounds and leases can be tested without sleeping.
#ifndef CONSILIUM_PROTO_BASE_CLOCK_H_
#define CONSILIUM_PROTO_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace consilium {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock (UTC). For records; may jump.
  virtual absl::Time Now() const = 0;
  // Since an arbitrary start, never backwards. For leases and deadlines.
  virtual absl::Duration Monotonic() const = 0;

  // The machine's clock; lives for ever.
  static Clock& System();
};

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_CLOCK_H_
