#include "site_agent/receive/receive_commands.h"

#include <map>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/supervisor.h"
#include "site_agent/receive/apart.h"
#include "site_agent/receive/association.h"
#include "site_agent/receive/dicom_config.h"
#include "site_agent/receive/listener.h"
#include "site_agent/receive/pull.h"
#include "site_agent/receive/quarantine.h"
#include "site_agent/receive/watch_folder.h"
#include "site_agent/receive/web_retrieve.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;

constexpr absl::Duration kLook = absl::Seconds(1);
// After something of ours went wrong: a full disk, an ingest that somebody else runs.
constexpr absl::Duration kLookAgain = absl::Seconds(30);

constexpr uint64_t kStudyListBytesMax = uint64_t{16} << 20;

struct ReceiveArguments {
  std::string home;
  std::string peer;
  std::vector<std::string> studies;
  std::string study_list;
  std::vector<std::string> query;
  bool again = false;
  bool count_only = false;
  bool check = false;
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
  if (config.listen.web) {
    Log(LogLevel::kInfo, "listening for STOW-RS", {{LogField::Key::kPort, listener.web_port()}});
  }
  NotifySupervisor(kSupervisorReady);
  const OutcomeSink sink = Recorded(arguments.home, hooks);
  const ForgottenSink forgotten = [&](const PatientHoldings& removed) {
    return hooks.forgotten(arguments.home, removed);
  };
  std::vector<WatchFolder> watched(config.watch.begin(), config.watch.end());
  absl::Duration wait = kLook;
  while (stop.sleep(wait)) {
    if (!listener.Running()) return absl::InternalError("the listener's process has died");
    const absl::Time before = hooks.clock.Now() - config.quarantine.settle;
    absl::Status taken = FinishForgetting(arguments.home, &quarantine, forgotten);
    taken.Update(quarantine.DropUnfinished(hooks.clock.Now() - kUnfinishedKept));
    taken.Update(TakeSettled(arguments.home, quarantine, before, sink, &stop.requested));
    for (WatchFolder& folder : watched) {
      taken.Update(folder.TakeSettled(arguments.home, before, sink, &stop.requested));
    }
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

absl::StatusOr<PullRequest> RequestFrom(const ReceiveArguments& arguments) {
  PullRequest request{.peer = arguments.peer,
                      .studies = arguments.studies,
                      .again = arguments.again,
                      .count_only = arguments.count_only};
  if (!arguments.study_list.empty()) {
    CSL_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(arguments.study_list, kStudyListBytesMax));
    for (const absl::string_view uid :
         absl::StrSplit(text, absl::ByAnyChar(" \t\r\n,;"), absl::SkipEmpty())) {
      request.studies.emplace_back(uid);
    }
  }
  for (const std::string& text : arguments.query) {
    CSL_ASSIGN_OR_RETURN(QueryKey key, ParseQueryKey(text));
    request.query.push_back(std::move(key));
  }
  if (request.studies.empty() && request.query.empty()) {
    return absl::InvalidArgumentError("say what to fetch: --study, --studies or --query");
  }
  return request;
}

absl::Status CheckPeer(const DicomConfig& config, const std::string& name,
                       const std::atomic<bool>& stop) {
  CSL_ASSIGN_OR_RETURN(const DicomPeer peer, config.Peer(name));
  PrepareNetwork();
  return RunApart(
             [&]() -> absl::StatusOr<std::string> {
               const Caller caller{config.ae_title, peer, NeedsTls(peer) ? &*config.tls : nullptr};
               CSL_RETURN_IF_ERROR(peer.method == RetrieveMethod::kWeb ? CheckWeb(caller)
                                                                       : EchoPeer(caller));
               return "";
             },
             stop)
      .status();
}

absl::Status RunPull(const ReceiveArguments& arguments, const ReceiveHooks& hooks,
                     const ReceiveStop& stop) {
  CSL_ASSIGN_OR_RETURN(const DicomConfig config, ReadDicomConfig(arguments.home));
  if (arguments.check) return CheckPeer(config, arguments.peer, stop.requested);
  CSL_ASSIGN_OR_RETURN(const PullRequest request, RequestFrom(arguments));
  std::unique_ptr<Progress> bar;
  const auto progress = [&bar](int64_t done, int64_t total) {
    if (!bar) bar = std::make_unique<Progress>("pull", "studies", static_cast<uint64_t>(total));
    bar->Update(static_cast<uint64_t>(done));
  };
  CSL_ASSIGN_OR_RETURN(const PullReport report, Pull(arguments.home, config, request,
                                                     {hooks.clock, stop.requested, stop.sleep,
                                                      Recorded(arguments.home, hooks), progress}));
  bar.reset();
  hooks.print(arguments.format, PullTable(report), PullToJson(report));
  if (report.faults.empty()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(report.faults.size(), " of ", report.found, " studies were given up"));
}

ReceiveCommand Bind(const std::shared_ptr<ReceiveArguments>& arguments, const ReceiveHooks& hooks,
                    absl::Status (*run)(const ReceiveArguments&, const ReceiveHooks&,
                                        const ReceiveStop&)) {
  return [arguments, hooks, run](const ReceiveStop& stop) { return run(*arguments, hooks, stop); };
}

void AddPull(CLI::App& app, const std::shared_ptr<ReceiveArguments>& arguments,
             const ReceiveHooks& hooks, ReceiveCommand& chosen) {
  static const std::map<std::string, OutputFormat> kFormats = {{"table", OutputFormat::kTable},
                                                               {"json", OutputFormat::kJson},
                                                               {"jsonl", OutputFormat::kJsonl}};
  CLI::App* pull = app.add_subcommand("pull", "fetch studies from an archive, and take them in");
  pull->add_option("--home", arguments->home, "the agent's folder, with dicom.yaml")->required();
  pull->add_option("PEER", arguments->peer, "its name in dicom.yaml")->required();
  pull->add_option("--study", arguments->studies, "study instance UID; may be repeated");
  pull->add_option("--studies", arguments->study_list, "file with study instance UIDs");
  pull->add_option("--query", arguments->query,
                   "KEYWORD=VALUE at the study level, such as ModalitiesInStudy=MR; may be "
                   "repeated, and all have to match");
  pull->add_flag("--again", arguments->again, "also what an earlier pull has fetched");
  pull->add_flag("--count", arguments->count_only, "only say how many studies match");
  pull->add_flag("--check", arguments->check,
                 "only ask whether the peer answers (C-ECHO, or a search by QIDO-RS)");
  pull->add_option("--output", arguments->format, "table, json or jsonl")
      ->transform(CLI::CheckedTransformer(kFormats))
      ->option_text("FORMAT");
  pull->callback([&chosen, arguments, hooks] { chosen = Bind(arguments, hooks, RunPull); });
}

}  // namespace

void AddReceiveCommands(CLI::App& app, const ReceiveHooks& hooks, ReceiveCommand& chosen) {
  const auto arguments = std::make_shared<ReceiveArguments>();
  CLI::App* listen = app.add_subcommand(
      "listen", "take in what scanners and the PACS send (C-STORE), until told to stop");
  listen->add_option("--home", arguments->home, "the agent's folder, with dicom.yaml")->required();
  listen->callback([&chosen, arguments, hooks] { chosen = Bind(arguments, hooks, RunListen); });
  AddPull(app, arguments, hooks, chosen);
}

}  // namespace consilium::agent
