// The program `consilium`: what an administrator types, what is shown, and the exit code.
//
// Each command group has its own file (site_commands.cc, ...) with one Add...Commands function. It
// declares its commands to CLI11; parsing only picks the action, which RunCli then runs, so that no
// CLI11 exception ever passes through our code.
#ifndef CONSILIUM_COORDINATOR_CLI_CLI_H_
#define CONSILIUM_COORDINATOR_CLI_CLI_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/cli/admin_client.h"
#include "google/protobuf/message.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"

namespace CLI {
class App;
}

namespace consilium::coordinator {

// What the program gets from its surroundings.
struct CliSurroundings {
  std::ostream& out;
  std::ostream& err;
  Clock& clock;
  std::function<void(absl::Duration)> sleep;
  std::string version;         // of this program
  std::string program_folder;  // where this program lies: consilium-infer is looked for beside it
  int terminal_columns = 0;    // of `out`; 0: not a terminal
};

// A run of the program. Not thread-safe.
struct Cli {
  explicit Cli(const CliSurroundings& surroundings)
      : out(surroundings.out), err(surroundings.err), around(surroundings) {}

  // A command's work. An error is printed as one line; a code is the program's exit code.
  using Action = std::function<absl::StatusOr<ExitCode>()>;

  // The folder of the credentials that the global options name. INVALID_ARGUMENT: none.
  absl::StatusOr<std::string> CredentialsFolder() const;
  // The coordinator that the global options name. UNAVAILABLE comes from the first call, not here.
  absl::StatusOr<std::unique_ptr<AdminClient>> Connect() const;

  // `table` in table format, otherwise `message` as JSON.
  absl::StatusOr<ExitCode> Show(const google::protobuf::Message& message, const std::string& table);
  // The same for a list, of which jsonl prints one line for each item.
  template <typename Reply, typename Items>
  absl::StatusOr<ExitCode> ShowList(const Reply& reply, const Items& items,
                                    const std::string& table) {
    if (format != OutputFormat::kJsonl) return Show(reply, table);
    for (const auto& item : items) PrintJson(item);
    return ExitCode::kOk;
  }
  void PrintJson(const google::protobuf::Message& message);

  std::ostream& out;
  std::ostream& err;
  const CliSurroundings& around;
  OutputFormat format = OutputFormat::kTable;
  std::string home;
  std::string coordinator;
  std::string credentials;
  Action action;
};

void AddInitCommand(CLI::App& app, Cli& cli);
void AddSiteCommands(CLI::App& app, Cli& cli);
void AddStudyCommands(CLI::App& app, Cli& cli);
void AddWatchCommand(CLI::App& app, Cli& cli);
void AddRoundCommands(CLI::App& app, Cli& cli);
void AddModelCommands(CLI::App& app, Cli& cli);
void AddRegistryCommands(CLI::App& model, Cli& cli);  // of `consilium model`
void AddUpkeepCommands(CLI::App& app, Cli& cli);
void AddReleaseCommands(CLI::App& app, Cli& cli);
void AddAuditCommands(CLI::App& app, Cli& cli);

// The whole program; `arguments` without its name. Returns the exit code.
int RunCli(std::vector<std::string> arguments, const CliSurroundings& around);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_CLI_H_
