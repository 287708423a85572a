// Time, chance and the network of one simulated federation: everything a schedule depends on follows
// from its seed. Single-threaded.
#ifndef CONSILIUM_TESTS_SIM_WORLD_H_
#define CONSILIUM_TESTS_SIM_WORLD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tests/support/random.h"

namespace consilium::sim {

// How often what goes wrong. After `heal` nothing does any more, so that everything has to end.
struct Faults {
  double drop = 0;             // of a message, either way
  double duplicate = 0;        // of a request
  absl::Duration delay_max = absl::Seconds(1);
  double crash_at_commit = 0;  // of the coordinator, before or after it
  double staged_lost = 0;      // of a crash: a power cut, which takes staged updates
  double site_crash = 0;       // in each tick
  double site_hang = 0;
  double site_stall = 0;       // of its work alone
  double spool_lost = 0;       // of a crash
  double work_fails = 0;
};

struct Counts {
  int64_t events = 0, drops = 0, duplicates = 0, coordinator_crashes = 0, site_crashes = 0,
          hangs = 0, lost_spools = 0, declines = 0, revocations = 0, pauses = 0, versions = 0,
          failed_rounds = 0, closed_early = 0, stale_folds = 0, stale_refusals = 0,
          late_updates = 0, acknowledged = 0, stalls = 0, left_out_stalled = 0, withdrawn = 0,
          lost_updates = 0, masked_versions = 0, dropouts_recovered = 0;
  void Add(const Counts& other);
};

class World {
 public:
  World(uint64_t seed, Faults faults) : random_(seed), faults_(faults) {}

  absl::Time now() const { return now_; }
  const Faults& faults() const { return faults_; }
  void Heal() { faults_ = Faults(); }
  bool Chance(double probability) { return probability > 0 && random_.Uniform() < probability; }
  absl::Duration Between(absl::Duration low, absl::Duration high) {
    return low + (high - low) * random_.Uniform();
  }
  int64_t Below(int64_t count) { return random_.Index(count); }
  phantom::Random& random() { return random_; }

  void At(absl::Time when, std::function<void()> what) {
    queue_.push({std::max(when, now_), next_++, std::move(what)});
  }
  void After(absl::Duration delay, std::function<void()> what) { At(now_ + delay, std::move(what)); }
  // A request that may be lost, late or heard twice. `heard` runs for each arrival.
  void Send(std::function<void()> heard);
  // Runs the next event. False: there is none.
  bool Step();

  void Fail(std::string what) {
    if (!violation_) violation_ = std::move(what);
  }
  const std::optional<std::string>& violation() const { return violation_; }
  Counts counts;

 private:
  struct Event {
    absl::Time when;
    uint64_t number;
    std::function<void()> what;
    bool operator<(const Event& other) const {  // the earliest is the greatest
      return std::tie(other.when, other.number) < std::tie(when, number);
    }
  };
  phantom::Random random_;
  Faults faults_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  uint64_t next_ = 0;
  std::priority_queue<Event> queue_;
  std::optional<std::string> violation_;
};

}  // namespace consilium::sim

#endif  // CONSILIUM_TESTS_SIM_WORLD_H_
