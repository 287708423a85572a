// `consilium-agent policy` and `consilium-agent budget`.
//
// Exit codes come from the status: 0; 1 (ABORTED) a plan does not keep to the policy; 2 a policy or
// plan with an error; 3 (NOT_FOUND) no such file.
#ifndef CONSILIUM_SITE_AGENT_POLICY_POLICY_COMMANDS_H_
#define CONSILIUM_SITE_AGENT_POLICY_POLICY_COMMANDS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"

namespace CLI {
class App;
}

namespace consilium::agent {

struct PolicyCommandHooks {
  std::function<void(OutputFormat format, const std::vector<std::vector<std::string>>& table,
                     const std::string& json)>
      print;
  // Puts "policy.approve" or "policy.withdraw" into the site's own log, durably.
  std::function<absl::Status(const std::string& home, const std::string& action,
                             const std::string& study, const std::string& plan_sha256)>
      record;
  const Clock& clock;  // borrowed
};

using PolicyCommand = std::function<absl::Status()>;

// Adds the commands to `app`; parsing one sets `chosen` to what it does. `app` and `chosen` must
// outlive the parsing.
void AddPolicyCommands(CLI::App& app, const PolicyCommandHooks& hooks, PolicyCommand& chosen);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_POLICY_COMMANDS_H_
