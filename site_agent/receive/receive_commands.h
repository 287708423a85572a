// `consilium-agent listen` and `consilium-agent pull`.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_RECEIVE_COMMANDS_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_RECEIVE_COMMANDS_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"
#include "site_agent/receive/forget_patient.h"
#include "site_agent/receive/intake_feed.h"

namespace CLI {
class App;
}

namespace consilium::agent {

struct ReceiveHooks {
  std::function<void(OutputFormat format, const std::vector<std::vector<std::string>>& table,
                     const std::string& json)>
      print;
  // Puts what became of a patient's objects into the site's own log, durably.
  std::function<absl::Status(const std::string& home, const PatientOutcome& outcome)> record;
  // The same of what was removed of a patient whose deletion was waiting for this process.
  std::function<absl::Status(const std::string& home, const PatientHoldings& removed)> forgotten;
  const Clock& clock;  // borrowed
};

// What ends a command early. Borrowed by it.
struct ReceiveStop {
  const std::atomic<bool>& requested;
  std::function<bool(absl::Duration)> sleep;  // false at once when a stop is requested
};
using ReceiveCommand = std::function<absl::Status(const ReceiveStop& stop)>;

// Adds the commands to `app`; parsing one sets `chosen` to what it does. `app` and `chosen` must
// outlive the parsing.
void AddReceiveCommands(CLI::App& app, const ReceiveHooks& hooks, ReceiveCommand& chosen);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_RECEIVE_COMMANDS_H_
