#include "site_agent/receive/receive_commands.h"

#include <map>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/supervisor.h"
#include "site_agent/receive/dicom_config.h"
#include "site_agent/receive/listener.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;

constexpr absl::Duration kLook = absl::Seconds(1);
// After something of ours went wrong: a full disk, an ingest that somebody else runs.
constexpr absl::Duration kLookAgain = absl::Seconds(30);

struct ReceiveArguments {
  std::string home;
  OutputFormat format = OutputFormat::kTable;
};

OutcomeSink Recorded(const std::string& home, const ReceiveHooks& hooks) {
  return [&home, &hooks](const PatientOutcome& outcome) {
    Log(LogLevel::kInfo, "handed to intake",
        {{LogField::Key::kCase, outcome.patient},
         {LogField::Key::kCount, outcome.report.cases_added},
         {LogField::Key::kTotal, outcome.report.files_seen},
         {LogField::Key::kReason, OutcomeText(outcome.report)}});
    return hooks.record(home, outcome);
  };
}

absl::Status RunListen(const ReceiveArguments& arguments, const ReceiveHooks& hooks,
                       const ReceiveStop& stop) {
  CSL_ASSIGN_OR_RETURN(const DicomConfig config, ReadDicomConfig(arguments.home));
  CSL_ASSIGN_OR_RETURN(Quarantine quarantine, Quarantine::Open(arguments.home, config.quarantine));
  CSL_ASSIGN_OR_RETURN(Listener listener, Listener::Start(config, quarantine));
  Log(LogLevel::kInfo, "listening for DICOM",
      {{LogField::Key::kPort, listener.port()},
       {LogField::Key::kTotal, static_cast<int64_t>(config.peers.size())}});
  NotifySupervisor(kSupervisorReady);
  const OutcomeSink sink = Recorded(arguments.home, hooks);
  absl::Duration wait = kLook;
  while (stop.sleep(wait)) {
    if (!listener.Running()) return absl::InternalError("the listener's process has died");
    const absl::Status taken =
        TakeSettled(arguments.home, quarantine, hooks.clock.Now() - config.quarantine.settle, sink,
                    &stop.requested);
    wait = kLook;
    if (taken.ok() || absl::IsCancelled(taken)) continue;
    wait = kLookAgain;
    Log(LogLevel::kError, "intake failed; what came waits",
        {{LogField::Key::kReason, taken.message()}});
  }
  NotifySupervisor(kSupervisorStopping);
  listener.Stop();
  return absl::OkStatus();
}

}  // namespace

void AddReceiveCommands(CLI::App& app, const ReceiveHooks& hooks, ReceiveCommand& chosen) {
  const auto arguments = std::make_shared<ReceiveArguments>();
  CLI::App* listen = app.add_subcommand(
      "listen", "take in what scanners and the PACS send (C-STORE), until told to stop");
  listen->add_option("--home", arguments->home, "the agent's folder, with dicom.yaml")->required();
  listen->callback([&chosen, arguments, hooks] {
    chosen = [arguments, hooks](const ReceiveStop& stop) {
      return RunListen(*arguments, hooks, stop);
    };
  });
}

}  // namespace consilium::agent
