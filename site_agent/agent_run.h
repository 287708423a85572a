// `consilium-agent run` and `status`: the agent as a service, and what it stands at.
#ifndef CONSILIUM_SITE_AGENT_AGENT_RUN_H_
#define CONSILIUM_SITE_AGENT_AGENT_RUN_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/stop_signal.h"

namespace consilium::agent {

// Runs until `stop`; OK then. FAILED_PRECONDITION: another agent runs on this home. NOT_FOUND: not
// enrolled.
absl::Status RunAgent(const std::string& home, absl::string_view software_version,
                      StopSignal& stop);

struct AgentStatus {
  std::string federation;
  std::string site;
  std::string federation_address;
  std::string certificate_not_after;  // RFC 3339, UTC
  int64_t cases = 0;
  int64_t labelled_cases = 0;
  int64_t damaged_cases = 0;
  // What of the patients may be used, and series that are not, by reason (inventory.h).
  std::string patient_policy;
  std::map<std::string, int64_t> patient_marks;
  std::map<std::string, int64_t> not_used;
  std::vector<std::string> spooled;   // results that wait to be delivered, by task id
  bool running = false;
  uint64_t audit_waiting = 0;  // messages for the hospital's audit repository
  uint64_t audit_dropped = 0;  // for want of room, since that was last reported there
};
// Looks at the home only; works while the agent runs.
absl::StatusOr<AgentStatus> ReadStatus(const std::string& home);
std::string StatusToJson(const AgentStatus& status);
std::vector<std::vector<std::string>> StatusTable(const AgentStatus& status);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_AGENT_RUN_H_
