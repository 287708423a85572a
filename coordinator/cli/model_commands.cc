#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct ModelArguments {
  std::string study;
  std::string version;
  std::string to;
  std::string alias;
  std::string expect = "*";
};

absl::StatusOr<ExitCode> List(Cli& cli, const ModelArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::ListModelsRequest request;
  request.set_study(arguments.study);
  CSL_ASSIGN_OR_RETURN(const v1::ListModelsReply reply,
                       client->Call(&v1::Admin::Stub::ListModels, request));
  return cli.ShowList(reply, reply.models(), FormatModels(reply));
}

absl::StatusOr<ExitCode> ShowModel(Cli& cli, const ModelArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::Model model, GetModel(*client, arguments.version));
  return cli.Show(model, FormatModel(model));
}

absl::StatusOr<ExitCode> Export(Cli& cli, const ModelArguments& arguments) {
  if (!absl::EndsWith(arguments.to, ".safetensors")) {
    return absl::InvalidArgumentError("--to: the file's name must end in .safetensors");
  }
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::Model model, GetModel(*client, arguments.version));
  Progress progress("export", "bytes", model.bytes());
  CSL_RETURN_IF_ERROR(
      client->Download(model, arguments.to, [&progress](uint64_t done) { progress.Update(done); }));
  progress.Finish();
  return cli.Show(
      model, absl::StrCat(Clean(model.version()), " in ", arguments.to, ", ",
                          FormatBytes(model.bytes()), ", sha256 ", Clean(model.sha256()), "\n"));
}

absl::StatusOr<ExitCode> SetAlias(Cli& cli, const ModelArguments& arguments) {
  const size_t slash = arguments.version.find('/');
  if (slash == std::string::npos) {
    return absl::InvalidArgumentError("VERSION: STUDY/NUMBER, such as hippocampus/3");
  }
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::SetAliasRequest request;
  request.set_study(arguments.version.substr(0, slash));
  request.set_alias(arguments.alias);
  request.set_version(arguments.version);
  request.set_expected_version(arguments.expect == "none" ? "" : arguments.expect);
  CSL_ASSIGN_OR_RETURN(const v1::Model model, client->Call(&v1::Admin::Stub::SetAlias, request));
  return cli.Show(model, absl::StrCat(Clean(request.study()), "@", Clean(arguments.alias), " is ",
                                      Clean(model.version()), ".\n"));
}

void AddExport(CLI::App& model, Cli& cli) {
  auto arguments = std::make_shared<ModelArguments>();
  CLI::App* command = model.add_subcommand("export", "Write a version's weights to a file");
  command->add_option("VERSION", arguments->version, "STUDY/NUMBER or STUDY@ALIAS")->required();
  command->add_option("--to", arguments->to, "The file to write, NAME.safetensors")->required();
  command->footer(
      "Example:\n  consilium model export hippocampus/3 --to hippocampus-3.safetensors");
  command->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Export(cli, *arguments); }; });
}

void AddAlias(CLI::App& model, Cli& cli) {
  auto arguments = std::make_shared<ModelArguments>();
  CLI::App* alias = model.add_subcommand("alias", "Names that move from version to version");
  alias->require_subcommand(1);
  alias->footer("Example:\n  consilium model alias set production hippocampus/3");
  CLI::App* command = alias->add_subcommand("set", "Move an alias; recorded in the audit log");
  command->add_option("NAME", arguments->alias, "candidate, production, ...")->required();
  command->add_option("VERSION", arguments->version, "STUDY/NUMBER")->required();
  command->add_option("--expect", arguments->expect,
                      "Only if the alias is at this version now; none: only if there is none yet");
  command->footer(
      "Example:\n  consilium model alias set production hippocampus/3 --expect hippocampus/2");
  command->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return SetAlias(cli, *arguments); }; });
}

}  // namespace

void AddModelCommands(CLI::App& app, Cli& cli) {
  CLI::App* model = app.add_subcommand("model", "Versions of models");
  model->require_subcommand(1);
  model->footer("Example:\n  consilium model list hippocampus");
  auto arguments = std::make_shared<ModelArguments>();
  CLI::App* list = model->add_subcommand("list", "All versions, or those of a study");
  list->add_option("STUDY", arguments->study, "The study");
  list->footer("Example:\n  consilium model list hippocampus");
  list->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return List(cli, *arguments); }; });
  CLI::App* show = model->add_subcommand("show", "One version");
  show->add_option("VERSION", arguments->version, "STUDY/NUMBER or STUDY@ALIAS")->required();
  show->footer("Example:\n  consilium model show hippocampus@production");
  show->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return ShowModel(cli, *arguments); }; });
  AddExport(*model, cli);
  AddAlias(*model, cli);
  AddRegistryCommands(*model, cli);
}

}  // namespace consilium::coordinator
