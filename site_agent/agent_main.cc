// consilium-agent-full: everything that a hospital's side of a federation does. consilium-agent
// (agent_front_main.cc) hands over to it.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"
#include "privacy/log/log.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"
#include "site_agent/agent_output.h"
#include "site_agent/agent_run.h"
#include "site_agent/audit_commands.h"
#include "site_agent/deidentify_commands.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/inventory.h"
#include "site_agent/patient_commands.h"
#include "site_agent/policy/policy_commands.h"
#include "site_agent/receive/dicomdir.h"
#include "site_agent/receive/receive_commands.h"
#include "site_agent/standalone.h"
#include "site_agent/stop_signal.h"
#include "site_agent/uplink/enrol.h"

namespace consilium::agent {
namespace {

constexpr const char* kProgram = "consilium-agent";
constexpr const char* kFooter = R"(Examples:
  consilium-agent enroll --home /var/lib/consilium --invitation site-a.json
  consilium-agent ingest --home /var/lib/consilium /archive/mr
  consilium-agent listen --home /var/lib/consilium
  consilium-agent pull --home /var/lib/consilium pacs --query ModalitiesInStudy=MR
  consilium-agent run --home /var/lib/consilium
  consilium-agent policy check policy.yaml --plan plan.json
  consilium-agent budget --home /var/lib/consilium
  consilium-agent patient opt-out --home /var/lib/consilium --ids objections.txt
  consilium-agent audit show --home /var/lib/consilium
  consilium-agent deidentify /archive/mr /tmp/shareable --hold /tmp/to-look-at
  consilium-agent held list /tmp/to-look-at
  consilium-agent train --data /archive/mr --plan plan.json --out /tmp/model
  consilium-agent evaluate --model model.safetensors --data /archive/labelled

`run` renews the site's certificate by itself, and reports what happens here to the hospital's audit
repository (IHE ATNA) where atna_repository in HOME/agent.yaml names one.

Exit codes: 0 ok, 1 a check failed, 2 usage or configuration, 3 no usable input or the coordinator
cannot be reached, 4 denied, 5 internal error.)";

// What the command line says, whatever the command.
struct Arguments {
  std::string home;
  std::string invitation;
  std::vector<std::string> paths;
  std::string out;
  std::vector<std::string> data;
  std::vector<std::string> evaluate;
  std::string plan;
  std::string model;
  std::string nifti_folder;
  std::string label_names;
  std::string image_labels;
  std::string to;
  uint64_t last = 50;
  std::optional<int64_t> rounds;
  std::optional<int64_t> steps;
  ComputeOptions compute;
  OutputFormat format = OutputFormat::kTable;
};

using Command = std::function<absl::Status(const Arguments&, StopSignal&)>;

absl::Status RunEnroll(const Arguments& arguments, StopSignal&) {
  const absl::Time now = Clock::System().Now();
  CSL_ASSIGN_OR_RETURN(const std::string text,
                       ReadFile(arguments.invitation, kInvitationBytesMax));
  CSL_ASSIGN_OR_RETURN(const Invitation invitation, ParseInvitation(text, now));
  EnrolOptions options;
  options.home = arguments.home;
  options.software_version = CONSILIUM_VERSION;
  options.now = now;
  const bool renews = ReadIdentity(arguments.home).ok();
  CSL_RETURN_IF_ERROR(Enrol(invitation, options));
  CSL_RETURN_IF_ERROR(RecordEnrolment(arguments.home, CONSILIUM_VERSION));
  if (renews) {
    std::printf("Renewed the certificate of %s in %s. An agent that runs uses it within a minute.\n",
                invitation.site.c_str(), invitation.federation.c_str());
    return absl::OkStatus();
  }
  std::printf("Enrolled as %s in %s. An administrator has to approve the site before it takes part."
              "\n",
              invitation.site.c_str(), invitation.federation.c_str());
  return absl::OkStatus();
}

absl::Status RunService(const Arguments& arguments, StopSignal& stop) {
  ResumeForgetting(arguments.home, CONSILIUM_VERSION);
  return RunAgent(arguments.home, CONSILIUM_VERSION, stop);
}

absl::Status RunIngest(const Arguments& arguments, StopSignal& stop) {
  CSL_RETURN_IF_ERROR(MakeDirs(arguments.home));
  ResumeForgetting(arguments.home, CONSILIUM_VERSION);
  CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(arguments.home, CONSILIUM_VERSION));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> paths, ExpandDicomdirs(arguments.paths));
  IngestOptions options;
  options.nifti_folder = arguments.nifti_folder;
  options.image_labels = arguments.image_labels;
  if (!arguments.label_names.empty()) {
    CSL_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(arguments.label_names, kLabelVocabularyBytesMax));
    CSL_ASSIGN_OR_RETURN(options.vocabulary, ParseLabelVocabulary(text));
  }
  StageBars bars;
  CSL_ASSIGN_OR_RETURN(
      const IngestReport report,
      Ingest(arguments.home, paths, options,
             [&](int64_t done, int64_t total) { bars("ingest", "files", done, total, ""); },
             &stop.requested()));
  bars = StageBars();
  CSL_RETURN_IF_ERROR(log->Record(IngestEvent(report)));
  ResumeForgetting(arguments.home, CONSILIUM_VERSION);  // what had to wait for this ingest
  Print(arguments.format, IngestTable(report), IngestToJson(report));
  if (report.cases_added + report.labels_added + report.already_in_store == 0) {
    return absl::NotFoundError("nothing in the given paths could be taken in");
  }
  return absl::OkStatus();
}

absl::Status RunCatalog(const Arguments& arguments, StopSignal&) {
  CSL_ASSIGN_OR_RETURN(const Catalog catalog, LoadCatalog(arguments.home));
  if (arguments.format == OutputFormat::kJsonl) {
    for (const CaseRecord& record : catalog.cases) std::printf("%s\n", CaseToJson(record).c_str());
    return absl::OkStatus();
  }
  CSL_ASSIGN_OR_RETURN(const Inventory inventory, TakeInventory(arguments.home, catalog));
  if (arguments.format == OutputFormat::kTable) {
    Print(arguments.format, CatalogTable(catalog), "");
    const auto rest = InventoryTable(inventory);
    if (!rest.empty()) std::printf("\nNot used, or not as a whole:\n%s", FormatTable(rest).c_str());
    return absl::OkStatus();
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(CatalogToJson(catalog));
  json["found"] = nlohmann::ordered_json::parse(InventoryToJson(inventory));
  Print(arguments.format, {}, json.dump());
  return absl::OkStatus();
}

absl::Status RunStatus(const Arguments& arguments, StopSignal&) {
  CSL_ASSIGN_OR_RETURN(const AgentStatus status, ReadStatus(arguments.home));
  Print(arguments.format, StatusTable(status), StatusToJson(status));
  return absl::OkStatus();
}

absl::Status RunAuditShow(const Arguments& arguments, StopSignal&) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> events,
                       LastSiteEvents(arguments.home, arguments.last));
  if (arguments.format == OutputFormat::kJsonl) {
    for (const std::string& event : events) std::printf("%s\n", event.c_str());
    return absl::OkStatus();
  }
  Print(arguments.format, EventTable(events), EventsToJson(events));
  return absl::OkStatus();
}

absl::Status RunAuditVerify(const Arguments& arguments, StopSignal&) {
  CSL_ASSIGN_OR_RETURN(const SiteLogSummary summary, VerifySiteLog(arguments.home));
  Print(arguments.format, SummaryTable(summary), SummaryToJson(summary));
  return absl::OkStatus();
}

absl::Status RunAuditExport(const Arguments& arguments, StopSignal&) {
  {
    CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(arguments.home, CONSILIUM_VERSION));
    CSL_RETURN_IF_ERROR(log->Record({.action = "audit.export"}));
  }
  CSL_RETURN_IF_ERROR(ExportSiteLog(arguments.home, arguments.to));
  std::printf("Wrote %s, and %s.policy to verify it with: consilium-audit verify %s --policy "
              "%s.policy\n",
              arguments.to.c_str(), arguments.to.c_str(), arguments.to.c_str(),
              arguments.to.c_str());
  return absl::OkStatus();
}

absl::Status RunTrainAlone(const Arguments& arguments, StopSignal& stop) {
  TrainAloneOptions options;
  options.data = arguments.data;
  options.out = arguments.out;
  options.evaluate = arguments.evaluate;
  CSL_ASSIGN_OR_RETURN(options.plan, ReadPlanFile(arguments.plan));
  if (arguments.rounds) options.plan.training.rounds = *arguments.rounds;
  if (arguments.steps) options.plan.training.steps_per_round = *arguments.steps;
  CSL_RETURN_IF_ERROR(wire::CheckPlan(options.plan));
  StageBars bars;
  Environment environment{.compute = arguments.compute,
                          .progress = std::ref(bars),
                          .stop = stop.requested()};
  CSL_ASSIGN_OR_RETURN(const TrainAloneResult result, TrainAlone(options, environment));
  bars = StageBars();
  Print(arguments.format, EvaluationTable(result.evaluation),
        EvaluationToJson(result.evaluation));
  std::fprintf(stderr, "Trained %d steps on %d cases (%d labelled), mean loss %.4f.\n",
               static_cast<int>(result.steps), static_cast<int>(result.training_cases),
               static_cast<int>(result.labelled_cases), result.mean_loss);
  return absl::OkStatus();
}

absl::Status RunEvaluateModel(const Arguments& arguments, StopSignal& stop) {
  CSL_ASSIGN_OR_RETURN(const TempDir temporary, TempDir::Create("consilium-evaluate"));
  const std::string home = arguments.home.empty() ? temporary.path() : arguments.home;
  StageBars bars;
  Environment environment{.compute = arguments.compute,
                          .progress = std::ref(bars),
                          .stop = stop.requested()};
  CSL_ASSIGN_OR_RETURN(const ModelEvaluation evaluation,
                       EvaluateOnData(arguments.model, arguments.data, home, environment));
  bars = StageBars();
  Print(arguments.format, EvaluationTable(evaluation), EvaluationToJson(evaluation));
  return absl::OkStatus();
}

void AddFormat(CLI::App& command, Arguments& arguments) {
  static const std::map<std::string, OutputFormat> kFormats = {{"table", OutputFormat::kTable},
                                                               {"json", OutputFormat::kJson},
                                                               {"jsonl", OutputFormat::kJsonl}};
  command.add_option("--output", arguments.format, "table, json or jsonl")
      ->transform(CLI::CheckedTransformer(kFormats))
      ->option_text("FORMAT");
}

void AddCompute(CLI::App& command, Arguments& arguments) {
  command.add_option("--threads", arguments.compute.threads, "0: all cores")
      ->check(CLI::Range(0, 1024));
  command.add_option("--device", arguments.compute.device, "cpu or cuda; default: cuda if any")
      ->check(CLI::IsMember({"cpu", "cuda"}));
}

// Commands of a site in a federation.
void AddSiteCommands(CLI::App& app, Arguments& arguments, Command& chosen) {
  const auto add = [&](const char* name, const char* about, Command command) {
    CLI::App* sub = app.add_subcommand(name, about);
    sub->add_option("--home", arguments.home, "the agent's folder")->required();
    sub->callback([&chosen, command] { chosen = command; });
    return sub;
  };
  add("enroll", "join a federation with an invitation, or renew the certificate", RunEnroll)
      ->add_option("--invitation", arguments.invitation, "the file the centre has sent")
      ->required();
  add("run", "take part until told to stop (the service)", RunService);
  CLI::App* ingest = add("ingest", "take DICOM files in, de-identified", RunIngest);
  ingest->add_option("PATH", arguments.paths, "files, folders and DICOMDIRs")->required();
  ingest->add_option("--labels-nifti", arguments.nifti_folder,
                     "a folder of NIfTI labels, named by series UID or patient ID");
  ingest->add_option("--label-names", arguments.label_names,
                     "labels.yaml: what this house calls its labels, in the study's words");
  ingest->add_option("--image-labels", arguments.image_labels,
                     "a CSV of what is in whole images: PatientID, StudyInstanceUID or "
                     "SeriesInstanceUID, and a column of 0 and 1 for each label");
  AddFormat(*ingest, arguments);
  AddFormat(*add("catalog", "list the cases taken in", RunCatalog), arguments);
  AddFormat(*add("status", "what this site stands at", RunStatus), arguments);
}

// The site's own log.
void AddAuditCommands(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* audit = app.add_subcommand("audit", "the site's own log of what happened here");
  audit->require_subcommand(1);
  const auto add = [&](const char* name, const char* about, Command command) {
    CLI::App* sub = audit->add_subcommand(name, about);
    sub->add_option("--home", arguments.home, "the agent's folder")->required();
    sub->callback([&chosen, command] { chosen = command; });
    return sub;
  };
  CLI::App* show = add("show", "the newest entries", RunAuditShow);
  show->add_option("--last", arguments.last, "how many")->option_text("N");
  AddFormat(*show, arguments);
  AddFormat(*add("verify", "check every hash and the signature", RunAuditVerify), arguments);
  add("export", "write it as a file that proves itself", RunAuditExport)
      ->add_option("--to", arguments.to, "new .jsonl file; FILE.policy is written beside it")
      ->required();
}

absl::Status RecordPolicyEvent(const std::string& home, const std::string& action,
                               const std::string& study, const std::string& plan_sha256) {
  CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(home, CONSILIUM_VERSION));
  return log->Record({.action = action, .study = study, .plan = plan_sha256});
}

absl::Status RecordRemoved(const std::string& home, const PatientHoldings& removed) {
  return RecordForgotten(home, CONSILIUM_VERSION, removed);
}

absl::Status RecordReceived(const std::string& home, const PatientOutcome& outcome) {
  CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(home, CONSILIUM_VERSION));
  return log->Record(ReceivedEvent(outcome));
}

// Commands that need no federation.
void AddLocalCommands(CLI::App& app, Arguments& arguments, Command& chosen) {
  CLI::App* train = app.add_subcommand("train", "train on this site's data alone");
  train->add_option("--data", arguments.data, "labelled DICOM, files and folders")->required();
  train->add_option("--plan", arguments.plan, "plan JSON, as `consilium study plan` prints it")
      ->required();
  train->add_option("--out", arguments.out, "folder for the model")->required();
  train->add_option("--evaluate", arguments.evaluate,
                    "labelled DICOM to measure on; default: the held-out part of --data");
  train->add_option("--rounds", arguments.rounds, "instead of the plan's");
  train->add_option("--steps", arguments.steps, "steps of each round, instead of the plan's");
  AddCompute(*train, arguments);
  AddFormat(*train, arguments);
  train->callback([&chosen] { chosen = RunTrainAlone; });

  CLI::App* evaluate = app.add_subcommand("evaluate", "Dice of a model on labelled DICOM");
  evaluate->add_option("--model", arguments.model, "exported safetensors")->required();
  evaluate->add_option("--data", arguments.data, "labelled DICOM, files and folders")->required();
  evaluate->add_option("--home", arguments.home, "keep what is taken in here; default: nowhere");
  AddCompute(*evaluate, arguments);
  AddFormat(*evaluate, arguments);
  evaluate->callback([&chosen] { chosen = RunEvaluateModel; });
}

int Main(int argc, char** argv) {
  Arguments arguments;
  Command chosen;
  CLI::App app("The site's side of federated training.", kProgram);
  app.footer(kFooter);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.require_subcommand(1);
  AddSiteCommands(app, arguments, chosen);
  AddAuditCommands(app, arguments, chosen);
  AddLocalCommands(app, arguments, chosen);
  DeidentifyCommand deidentify_command;
  AddDeidentifyCommands(app, {Print, OneStageProgress("deidentify", "files")}, deidentify_command);
  PolicyCommand policy_command;
  AddPolicyCommands(app, {Print, RecordPolicyEvent, Clock::System()}, policy_command);
  PatientCommand patient_command;
  AddPatientCommands(app, Print, CONSILIUM_VERSION, patient_command);
  ReceiveCommand receive_command;
  AddReceiveCommands(app, {Print, RecordReceived, RecordRemoved, Clock::System()}, receive_command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  privacy::SetLogProgram(kProgram);
  if (patient_command) return ReportAndExitCode(kProgram, patient_command());
  if (policy_command) return ReportAndExitCode(kProgram, policy_command());
  StopSignal stop;
  if (deidentify_command) return ReportAndExitCode(kProgram, deidentify_command(stop.requested()));
  if (receive_command) {
    const auto sleep = [&](absl::Duration duration) { return stop.Sleep(duration); };
    return ReportAndExitCode(kProgram, receive_command({stop.requested(), sleep}));
  }
  return ReportAndExitCode(kProgram, chosen(arguments, stop));
}

}  // namespace
}  // namespace consilium::agent

int main(int argc, char** argv) {
  consilium::wire::RequireTls13();
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // one log, in one form: ours
  return consilium::agent::Main(argc, argv);
}
