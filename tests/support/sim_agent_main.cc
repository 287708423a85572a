// consilium-sim-agent: many simulated sites in one process, for tests and benchmarks.
#include <cstdlib>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"
#include "site_agent/stop_signal.h"
#include "tests/support/sim_enrol.h"
#include "tests/support/sim_fleet.h"

namespace consilium::simulated {
namespace {

constexpr const char* kProgram = "consilium-sim-agent";
constexpr const char* kFooter = R"(
Each site runs the agent's own driver, spool and client over mutual TLS; only its work is made up.
Homes come from one of:
  --invitations DIR   every *.json in it is enrolled into HOMES; an administrator approves
  --admin DIR         a coordinator's admin folder: --sites N are invited, enrolled and approved
  neither             the homes in HOMES that are enrolled already

Example:
  consilium-sim-agent --homes /tmp/sims --admin HOME/admin --sites 100 --parameters 1000000 --once

Exit codes: 0 stopped or done, 2 usage, 3 no home or coordinator, 5 a site failed.)";

struct Arguments {
  std::string homes, invitations, admin;
  int sites = 1;
  double work_seconds = 0;
  double retry_max_seconds = 30;
  bool once = false;
  FleetOptions fleet;
};

void AddOptions(CLI::App& app, Arguments& a) {
  app.add_option("--homes", a.homes, "Folder of the sites' homes")->required();
  auto* invitations = app.add_option("--invitations", a.invitations, "Folder of invitation files");
  app.add_option("--admin", a.admin, "Folder of administrator's credentials")->excludes(invitations);
  app.add_option("--sites", a.sites, "How many, with --admin")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--parameters", a.fleet.work.parameters, "Of the first weights")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31))
      ->capture_default_str();
  app.add_option("--cases", a.fleet.work.cases, "Of each site's cohort")->capture_default_str();
  app.add_option("--labelled", a.fleet.work.labelled_cases, "Of them")->capture_default_str();
  app.add_option("--held-out", a.fleet.work.held_out_cases, "Of those")->capture_default_str();
  app.add_option("--work-seconds", a.work_seconds, "That a TRAIN task takes")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--retry-max-seconds", a.retry_max_seconds, "Bound of a pause after failures")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  app.add_option("--heavy", a.fleet.heavy_at_once, "Sites that make an update at the same time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seed", a.fleet.work.seed, "Same seed, same updates")->capture_default_str();
  app.add_flag("--once", a.once, "Each site ends when one update of its was taken");
}

absl::StatusOr<std::vector<std::string>> Homes(const Arguments& a, const Clock& clock) {
  if (!a.invitations.empty()) return EnrolFromFolder(a.invitations, a.homes, clock);
  if (!a.admin.empty()) return EnrolAsAdmin(a.admin, a.homes, a.sites, clock);
  return EnrolledHomes(a.homes);
}

absl::Status Run(Arguments& a, agent::StopSignal& stop) {
  const Clock& clock = Clock::System();
  CSL_ASSIGN_OR_RETURN(a.fleet.homes, Homes(a, clock));
  if (a.fleet.homes.empty()) return absl::NotFoundError("no enrolled home: nothing to simulate");
  a.fleet.work.seconds = absl::Seconds(a.work_seconds);
  a.fleet.retry_max = absl::Seconds(a.retry_max_seconds);
  if (a.once) a.fleet.until = FleetOptions::Until::kOneUpdate;
  CSL_ASSIGN_OR_RETURN(const auto fleet, Fleet::Start(a.fleet, clock));
  stop.OnStop([&] { fleet->Stop(); });
  privacy::Log(privacy::LogLevel::kInfo, "simulated sites run",
               {{privacy::LogField::Key::kCount, a.fleet.homes.size()}});
  const absl::Status ended = fleet->Wait();
  stop.OnStop({});
  privacy::Log(privacy::LogLevel::kInfo, "simulated sites ended",
               {{privacy::LogField::Key::kCount, fleet->updates_delivered()}});
  return ended;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Simulated sites of a federation.", kProgram);
  app.footer(kFooter);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  AddOptions(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  privacy::SetLogProgram(kProgram);
  agent::StopSignal stop;
  return ReportAndExitCode(kProgram, Run(arguments, stop));
}

}  // namespace
}  // namespace consilium::simulated

int main(int argc, char** argv) {
  consilium::wire::RequireTls13();
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return consilium::simulated::Main(argc, argv);
}
