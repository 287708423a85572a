// One whole simulated federation, decided by its seed.
#ifndef CONSILIUM_TESTS_SIM_SCHEDULE_H_
#define CONSILIUM_TESTS_SIM_SCHEDULE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "tests/sim/sim_coordinator.h"
#include "tests/sim/world.h"

namespace consilium::sim {

struct Outcome {
  std::optional<std::string> violation;
  Counts counts;
};

enum class Kind { kSealed, kMasked };

// Thread-safe. One or two studies, synchronous or buffered, over three to five sites that all may take part; masked
// ones over three to six.
Outcome RunSchedule(uint64_t seed, Bug bug = Bug::kNone, Kind kind = Kind::kSealed);

}  // namespace consilium::sim

#endif  // CONSILIUM_TESTS_SIM_SCHEDULE_H_
