// Many simulated sites in one process: the agent's own driver, spool and client over real mutual TLS,
// with sim_work in place of training.
//
// Order: Start, then Wait or Stop, then destruction (which stops). One thread a site. Thread-safe.
#ifndef CONSILIUM_TESTS_SUPPORT_SIM_FLEET_H_
#define CONSILIUM_TESTS_SUPPORT_SIM_FLEET_H_

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/base/clock.h"
#include "site_agent/round/site_round.h"
#include "tests/support/sim_work.h"

namespace consilium::simulated {

struct FleetOptions {
  std::vector<std::string> homes;  // each enrolled (sim_enrol.h, or the agent's own command)
  WorkOptions work;
  int heavy_at_once = 2;  // sites that make and seal an update at the same time
  absl::Duration ask_wait = absl::Seconds(30);
  absl::Duration retry_max = absl::Seconds(30);  // bound of the pauses after failures
  // kOneUpdate: a site ends when one update of its training was taken; a masked one: when its round has
  // ended.
  enum class Until { kStopped, kOneUpdate } until = Until::kStopped;
};

class Fleet {
 public:
  // NOT_FOUND: a home is not enrolled.
  static absl::StatusOr<std::unique_ptr<Fleet>> Start(FleetOptions options, const Clock& clock);
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // Ends the calls that run and all that come; the spools keep what is finished.
  void Stop();
  // Until every site has ended; the first error of one.
  absl::Status Wait();
  int64_t updates_delivered() const { return delivered_; }

 private:
  class Client;
  struct Site;
  Fleet(FleetOptions options, const Clock& clock);
  absl::Status AddSite(const std::string& home);
  absl::Status RunSite(Site& site);
  bool Sleep(const Site& site, absl::Duration duration);
  absl::Status RunHeavy(const std::function<absl::Status()>& work);
  void OnTaken(Site& site, const agent::TaskKey& task);
  void OnDiscarded(Site& site, const agent::Discard& discard);

  const FleetOptions options_;
  const Clock& clock_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::atomic<int64_t> delivered_{0};
  int heavy_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Site>> sites_;  // all there before the first thread starts
  std::vector<std::thread> threads_;
};

}  // namespace consilium::simulated

#endif  // CONSILIUM_TESTS_SUPPORT_SIM_FLEET_H_
