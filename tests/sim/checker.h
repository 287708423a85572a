// What has to hold in every simulated federation, whatever goes wrong. Looked at after every event
// that changed the disk:
//   - a committed version is its base plus the plain weighted mean of exactly the folded updates, with
//     the weights that cases and staleness give;
//   - no update and no task is folded twice;
//   - an update that was answered "accepted" is in an open round, in exactly one aggregate, named as
//     dropped with its failed round or its revoked site, or named as lost, and then its task goes on;
//   - versions, their parents and numbers, and the audit log's round.commit entries tell one story;
//   - a masked version is the sum of at least a threshold of sites, never of fewer than three; no mask
//     is used for two payloads, and nobody's two secrets are both given away;
//   - what a restart reads holds every contribution that was accepted;
// and at the end: no round is open.
#ifndef CONSILIUM_TESTS_SIM_CHECKER_H_
#define CONSILIUM_TESTS_SIM_CHECKER_H_

#include <map>
#include <set>
#include <string>

#include "tests/sim/sim_coordinator.h"
#include "tests/sim/sim_site.h"
#include "tests/sim/world.h"

namespace consilium::sim {

class Checker {
 public:
  Checker(World& world, const SimCoordinator& coordinator, const Ledger& ledger, const Leaks& leaks)
      : world_(world), coordinator_(coordinator), ledger_(ledger), leaks_(leaks) {}
  void AfterEvent();
  void AtTheEnd();

 private:
  struct Seen {
    size_t versions = 0;
    size_t audit = 0;
    std::set<std::string> folded_tasks;
  };
  void CheckVersions(const std::string& study);
  void CheckModel(const coordinator::VersionRecord& version, const coordinator::RoundRecord& round,
                  int64_t newest);
  void CheckAudit();
  void CheckAcknowledged();
  void CheckMaskedCohort(const coordinator::RoundRecord& round);
  bool CheckLost(const std::string& upload, const std::string& study);

  World& world_;
  const SimCoordinator& coordinator_;
  const Ledger& ledger_;
  const Leaks& leaks_;
  uint64_t commits_ = 0;
  size_t audit_ = 0;
  std::map<std::string, Seen> seen_;
  std::map<std::string, std::vector<std::string>> committed_;  // versions in the audit log, by study
  std::set<std::string> lost_, dropped_;  // upload ids that the audit log names
  std::set<std::string> settled_;  // acknowledged updates that were folded or named as dropped
};

}  // namespace consilium::sim

#endif  // CONSILIUM_TESTS_SIM_CHECKER_H_
