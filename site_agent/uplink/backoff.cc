#include "site_agent/uplink/backoff.h"

#include <algorithm>

namespace consilium::agent {

absl::Duration Backoff::Bound(int failures) const {
  absl::Duration bound = options_.first;
  for (int i = 1; i < failures && bound < options_.max; ++i) bound *= 2;
  return std::min(bound, options_.max);
}

absl::Duration Backoff::Delay(int failures) const {
  return std::max(options_.min, Bound(failures) * std::clamp(uniform_(), 0.0, 1.0));
}

}  // namespace consilium::agent
