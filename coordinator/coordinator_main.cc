// consilium-coordinator: runs the coordinating centre of a federation until SIGTERM.
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/home.h"
#include "coordinator/service/coordinator_server.h"
#include "privacy/log/log.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"
#include "proto/base/heap.h"
#include "proto/base/status.h"
#include "proto/base/supervisor.h"
#include "proto/wire/transport.h"

namespace {

using consilium::privacy::LogLevel;

constexpr const char* kProgram = "consilium-coordinator";
constexpr absl::Duration kDrain = absl::Seconds(10);

constexpr const char* kFooter =
    "The home is made by `consilium init`. Logs are JSON lines on stderr. SIGTERM and SIGINT drain:\n"
    "no more tasks, calls in progress have 10 s to end, exit code 0; a second signal ends at once. A\n"
    "round that was under way goes on at the next start; no site trains again for nothing.\n\n"
    "Example:\n"
    "  consilium init ./centre --name demo-federation\n"
    "  consilium-coordinator --home ./centre";

constexpr int kSecondSignalExit = 130;

absl::Status Run(const std::string& home, const sigset_t& signals) {
  CSL_ASSIGN_OR_RETURN(const consilium::coordinator::CoordinatorOptions options,
                       consilium::coordinator::ReadCoordinatorOptions(home));
  CSL_ASSIGN_OR_RETURN(const auto server,
                       consilium::coordinator::CoordinatorServer::Start(
                           home, options, consilium::Clock::System()));
  consilium::NotifySupervisor(consilium::kSupervisorReady);
  int signal = 0;
  sigwait(&signals, &signal);
  consilium::NotifySupervisor(consilium::kSupervisorStopping);
  consilium::privacy::Log(LogLevel::kInfo, "draining");
  // A second signal does not wait for the calls in progress; nothing that was answered is lost.
  std::thread([&signals] {
    int again = 0;
    sigwait(&signals, &again);
    ::_exit(kSecondSignalExit);
  }).detach();
  server->Shutdown(kDrain);
  consilium::privacy::Log(LogLevel::kInfo, "stopped");
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  consilium::BoundHeapPools();
  consilium::wire::RequireTls13();
  // Blocked before any thread starts, so that only sigwait takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app("Runs the coordinating centre of a federation.", kProgram);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.footer(kFooter);
  std::string home;
  LogLevel level = LogLevel::kInfo;
  app.add_option("--home", home, "the coordinator's home")->required();
  app.add_option("--log-level", level, "debug, info, warning or error")
      ->transform(CLI::CheckedTransformer(std::map<std::string, LogLevel>{
          {"debug", LogLevel::kDebug},
          {"info", LogLevel::kInfo},
          {"warning", LogLevel::kWarning},
          {"error", LogLevel::kError}}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(consilium::ExitCode::kUsage);
  }
  consilium::privacy::SetLogProgram(kProgram);
  consilium::privacy::SetLogLevel(level);
  const absl::Status ended = Run(home, signals);
  const int code = consilium::ReportAndExitCode(kProgram, ended);
  // Stored bytes that are not what was written: a check that failed, not a bug.
  return absl::IsDataLoss(ended) ? static_cast<int>(consilium::ExitCode::kCheckFailed) : code;
}
