// `consilium-agent deidentify` and `consilium-agent held`.
#ifndef CONSILIUM_SITE_AGENT_DEIDENTIFY_COMMANDS_H_
#define CONSILIUM_SITE_AGENT_DEIDENTIFY_COMMANDS_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/base/cli.h"
#include "site_agent/intake/study_index.h"

namespace CLI {
class App;
}

namespace consilium::agent {

struct DeidentifyCommandHooks {
  std::function<void(OutputFormat format, const std::vector<std::vector<std::string>>& table,
                     const std::string& json)>
      print;
  IntakeProgress progress;
};

using DeidentifyCommand = std::function<absl::Status(const std::atomic<bool>& stop)>;

// Adds the commands to `app`; parsing one sets `chosen` to what it does. `app` and `chosen` must
// outlive the parsing.
void AddDeidentifyCommands(CLI::App& app, const DeidentifyCommandHooks& hooks,
                           DeidentifyCommand& chosen);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_DEIDENTIFY_COMMANDS_H_
