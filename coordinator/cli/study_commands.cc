#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kStudyBytesMax = 256 * 1024;

struct StudyArguments {
  std::string name;
  std::string file;
  std::string reason;
  std::string output;
};

absl::StatusOr<v1::Study> GetStudy(Cli& cli, const std::string& name) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::GetStudyRequest request;
  request.set_name(name);
  return client->Call(&v1::Admin::Stub::GetStudy, request);
}

std::string WithNewline(std::string text) {
  if (text.empty() || text.back() != '\n') text += '\n';
  return text;
}

absl::StatusOr<ExitCode> Create(Cli& cli, const StudyArguments& arguments) {
  v1::CreateStudyRequest request;
  CSL_ASSIGN_OR_RETURN(*request.mutable_yaml(), ReadFile(arguments.file, kStudyBytesMax));
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  absl::StatusOr<v1::Study> study = client->Call(&v1::Admin::Stub::CreateStudy, request);
  if (absl::IsInvalidArgument(study.status())) {
    return Annotate(study.status(), BaseName(arguments.file));
  }
  if (!study.ok()) return study.status();
  return cli.Show(
      *study, absl::StrCat("Made study ", Clean(study->name()),
                           ". Look at it with "
                           "`consilium study show ",
                           Clean(study->name()), " --output yaml`, then\n  consilium study start ",
                           Clean(study->name()), "\n",
                           study->promises_size() + study->warnings_size() > 0 ? "\n" : "",
                           FormatPromise(*study)));
}

absl::StatusOr<ExitCode> List(Cli& cli) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::ListStudiesReply reply,
                       client->Call(&v1::Admin::Stub::ListStudies, v1::ListStudiesRequest()));
  return cli.ShowList(reply, reply.studies(), FormatStudies(reply));
}

absl::StatusOr<ExitCode> ShowStudy(Cli& cli, const StudyArguments& arguments) {
  if (arguments.output == "json") cli.format = OutputFormat::kJson;
  if (arguments.output == "jsonl") cli.format = OutputFormat::kJsonl;
  CSL_ASSIGN_OR_RETURN(const v1::Study study, GetStudy(cli, arguments.name));
  if (arguments.output == "yaml") {
    cli.out << WithNewline(study.yaml());
    return ExitCode::kOk;
  }
  return cli.Show(study, FormatStudy(study));
}

absl::StatusOr<ExitCode> ShowPlan(Cli& cli, const StudyArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const v1::Study study, GetStudy(cli, arguments.name));
  if (study.plan_json().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the plan of ", arguments.name,
                     " is not fixed yet: it comes from the sites' reports after `study start`"));
  }
  if (cli.format != OutputFormat::kTable) {
    cli.out << study.plan_json() << "\n";  // the exact text that is hashed
    return ExitCode::kOk;
  }
  const nlohmann::json plan =
      nlohmann::json::parse(study.plan_json(), nullptr, /*allow_exceptions=*/false);
  if (plan.is_discarded()) return absl::DataLossError("the plan is not JSON");
  cli.out << plan.dump(2) << "\n";
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Control(Cli& cli, const StudyArguments& arguments,
                                 const std::string& action) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::ControlStudyRequest request;
  request.set_name(arguments.name);
  request.set_action(action);
  request.set_reason(arguments.reason);
  CSL_ASSIGN_OR_RETURN(const v1::Study study,
                       client->Call(&v1::Admin::Stub::ControlStudy, request));
  return cli.Show(study,
                  absl::StrCat("Study ", Clean(study.name()), " is ", Clean(study.state()), ".\n"));
}

void AddControl(CLI::App& study, Cli& cli, const std::string& action, const std::string& help) {
  auto arguments = std::make_shared<StudyArguments>();
  CLI::App* command = study.add_subcommand(action, help);
  command->add_option("NAME", arguments->name, "The study")->required();
  command->add_option("--reason", arguments->reason, "Why; goes to the audit log");
  command->footer(absl::StrCat("Example:\n  consilium study ", action, " hippocampus"));
  command->callback([&cli, arguments, action] {
    cli.action = [&cli, arguments, action] { return Control(cli, *arguments, action); };
  });
}

void AddShow(CLI::App& study, Cli& cli) {
  auto arguments = std::make_shared<StudyArguments>();
  CLI::App* show = study.add_subcommand("show", "State, sites, and Dice of each evaluated version");
  show->add_option("NAME", arguments->name, "The study")->required();
  show->add_option("--output", arguments->output,
                   "table, json, jsonl, or yaml: the study file with every default filled in")
      ->check(CLI::IsMember({"table", "json", "jsonl", "yaml"}));
  show->footer("Example:\n  consilium study show hippocampus --output yaml");
  show->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return ShowStudy(cli, *arguments); }; });
}

}  // namespace

void AddStudyCommands(CLI::App& app, Cli& cli) {
  CLI::App* study = app.add_subcommand("study", "Studies: create, start, look at");
  study->require_subcommand(1);
  study->footer("Example:\n  consilium study create hippocampus.yaml");
  auto created = std::make_shared<StudyArguments>();
  CLI::App* create = study->add_subcommand("create", "Make a study from its file");
  create->add_option("FILE", created->file, "The study file (YAML)")->required();
  create->footer("Example:\n  consilium study create hippocampus.yaml");
  create->callback(
      [&cli, created] { cli.action = [&cli, created] { return Create(cli, *created); }; });
  CLI::App* list = study->add_subcommand("list", "All studies");
  list->footer("Example:\n  consilium study list");
  list->callback([&cli] { cli.action = [&cli] { return List(cli); }; });
  AddShow(*study, cli);
  AddControl(*study, cli, "start", "Ask the sites for their cohorts, fix the plan, train");
  AddControl(*study, cli, "pause", "Finish the running round, then wait");
  AddControl(*study, cli, "resume", "Go on after a pause");
  AddControl(*study, cli, "stop", "End the study for good; its versions stay");
  auto planned = std::make_shared<StudyArguments>();
  CLI::App* plan = study->add_subcommand("plan", "Everything that decides training, as JSON");
  plan->add_option("NAME", planned->name, "The study")->required();
  plan->footer(
      "Example:\n  consilium study plan hippocampus --output json | tr -d '\\n' | sha256sum");
  plan->callback(
      [&cli, planned] { cli.action = [&cli, planned] { return ShowPlan(cli, *planned); }; });
}

}  // namespace consilium::coordinator
