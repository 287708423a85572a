// A site of a simulated federation: the real SiteRound over a spool that survives a crash, a network
// that loses, repeats and delays, and a machine that dies, hangs or cannot do the work.
#ifndef CONSILIUM_TESTS_SIM_SIM_SITE_H_
#define CONSILIUM_TESTS_SIM_SIM_SITE_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "site_agent/round/site_round.h"
#include "tests/sim/sim_coordinator.h"
#include "tests/sim/sim_masking.h"
#include "tests/sim/world.h"

namespace consilium::sim {

// What a site trained, as the test remembers it.
struct Trained {
  std::string site;
  std::string task_id;
  std::string study;
  Values values;
  int64_t labelled = 0;
  int64_t unlabelled = 0;
};
using Ledger = std::map<std::string, Trained>;  // by upload id

class SimSite {
 public:
  struct Options {
    std::string name;
    int64_t labelled = 10;
    int64_t unlabelled = 0;
    int64_t held_out = 1;
    absl::Duration training = absl::Seconds(20);  // about so long
    bool counts = true;  // false: an agent of before, whose heartbeats have no counters
  };
  SimSite(Options options, World& world, SimCoordinator& coordinator, Ledger& ledger, Leaks& leaks)
      : options_(std::move(options)),
        world_(world),
        coordinator_(coordinator),
        ledger_(ledger),
        masking_(options_.name, leaks) {}

  const std::string& name() const { return options_.name; }
  void PlantMaskTwice() { masking_.PlantMaskTwice(); }
  void Start();
  // Comes back by itself after a while.
  void Crash();
  void Hang();
  // The work stands still for a while; heartbeats go on.
  void Stall();

 private:
  struct Result {
    agent::TaskKey key;
    std::optional<coordinator::Announcement> update;
    Values values;
    Words words = {};  // masked; then `values` never leave
    std::optional<secagg::Consent> consent = {};
    std::optional<secagg::RevealMessage> reveal = {};
  };
  void Do(const std::vector<agent::Effect>& effects);
  void Ask();
  void Work();
  void DoStep(const coordinator::SiteTask& task, absl::Duration takes);
  void FinishWork(const coordinator::SiteTask& task);
  // Agrees on keys while the work goes on: asks until it is ready or out.
  void Agree(const coordinator::SiteTask& task);
  void CannotTakePart();
  void FinishUnmasking(const coordinator::SiteTask& task, Result& result);
  void Heartbeat(const std::string& task_id);
  void Deliver(const std::string& task_id);
  void DeliverUpdate(const Result& result);
  void Decline(const std::string& task_id);
  void OnDelivery(const absl::Status& status);
  // Asks the coordinator; the answer, or UNAVAILABLE when there is none in time, comes once and only
  // to the life that asked.
  template <typename T>
  void Call(std::function<T()> heard, std::function<void(const T&)> answered);

  const Options options_;
  World& world_;
  SimCoordinator& coordinator_;
  Ledger& ledger_;
  std::map<std::string, Result> spool_;  // survives, mostly
  std::vector<std::string> spool_order_;
  std::set<std::string> delivered_;  // updates that were taken and should be spooled while needed

  uint64_t life_ = 0;
  bool alive_ = false;
  absl::Time hangs_until_ = absl::InfinitePast();
  std::optional<agent::SiteRound> round_;
  std::optional<coordinator::SiteTask> task_;
  std::string working_on_;  // empty: nothing
  SimMasking masking_;
  bool agreed_ = false;  // the task's keys
  std::string delivering_;
  int64_t steps_ = 0;       // of that, done
  absl::Time stalls_until_ = absl::InfinitePast();
};

}  // namespace consilium::sim

#endif  // CONSILIUM_TESTS_SIM_SIM_SITE_H_
