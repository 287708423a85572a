// consilium model diff | import | rollback | gc
#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr absl::Duration kDiffPatience = absl::Minutes(10);
constexpr absl::Duration kCollectPatience = absl::Minutes(10);

struct RegistryArguments {
  std::string a;
  std::string b;
  std::string study;
  std::string file;
  std::string reason;
  bool dry_run = false;
};

absl::StatusOr<ExitCode> Diff(Cli& cli, const RegistryArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::DiffModelsRequest request;
  request.set_a(arguments.a);
  request.set_b(arguments.b);
  CSL_ASSIGN_OR_RETURN(const v1::DiffModelsReply reply,
                       client->Call(&v1::Admin::Stub::DiffModels, request, kDiffPatience));
  return cli.ShowList(reply, reply.tensors(), FormatDiff(reply));
}

absl::StatusOr<ExitCode> Import(Cli& cli, const RegistryArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, FileBytes(arguments.file));
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  Progress progress("import", "bytes", bytes);
  CSL_ASSIGN_OR_RETURN(const v1::Model model,
                       client->Import(arguments.study, arguments.reason, arguments.file,
                                      [&progress](uint64_t done) { progress.Update(done); }));
  progress.Finish();
  return cli.Show(model, absl::StrCat(BaseName(arguments.file), " is now ", Clean(model.version()),
                                      ", sha256 ", Clean(model.sha256()), "\n"));
}

absl::StatusOr<ExitCode> Rollback(Cli& cli, const RegistryArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::RollbackRequest request;
  request.set_study(arguments.study);
  request.set_reason(arguments.reason);
  CSL_ASSIGN_OR_RETURN(const v1::Model model, client->Call(&v1::Admin::Stub::Rollback, request));
  return cli.Show(model, absl::StrCat(Clean(arguments.study), "@production is ",
                                      Clean(model.version()), " again.\n"));
}

absl::StatusOr<ExitCode> Collect(Cli& cli, const RegistryArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::CollectGarbageRequest request;
  request.set_dry_run(arguments.dry_run);
  CSL_ASSIGN_OR_RETURN(const v1::CollectGarbageReply reply,
                       client->Call(&v1::Admin::Stub::CollectGarbage, request, kCollectPatience));
  std::string table;
  for (const std::string& version : reply.versions()) {
    absl::StrAppend(&table, Clean(version), arguments.dry_run ? " would go\n" : " went\n");
  }
  absl::StrAppend(&table, reply.chunks(), " chunks, ", FormatBytes(reply.bytes()),
                  arguments.dry_run ? ", would be removed.\n" : " removed.\n");
  return cli.Show(reply, table);
}

}  // namespace

void AddRegistryCommands(CLI::App& model, Cli& cli) {
  auto arguments = std::make_shared<RegistryArguments>();
  const auto runs = [&cli, arguments](CLI::App* command, auto action) {
    command->callback([&cli, arguments, action] {
      cli.action = [&cli, arguments, action] { return action(cli, *arguments); };
    });
  };
  CLI::App* diff = model.add_subcommand("diff", "What changed between two versions");
  diff->add_option("A", arguments->a, "STUDY/NUMBER or STUDY@ALIAS")->required();
  diff->add_option("B", arguments->b, "STUDY/NUMBER or STUDY@ALIAS")->required();
  diff->footer("Example:\n  consilium model diff hippocampus@production hippocampus/7");
  runs(diff, Diff);

  CLI::App* import = model.add_subcommand(
      "import", "Make a safetensors file the next version of a study that does not run");
  import->add_option("FILE", arguments->file, "The file, with the tensors of the study's models")
      ->required();
  import->add_option("--study", arguments->study, "The study")->required();
  import->add_option("--reason", arguments->reason, "Where it is from; goes to the audit log")
      ->required();
  import->footer(
      "Example:\n  consilium model import tuned.safetensors --study hippocampus "
      "--reason 'calibrated on the reading centre'");
  runs(import, Import);

  CLI::App* rollback =
      model.add_subcommand("rollback", "Put the previous version back into production");
  rollback->add_option("STUDY", arguments->study, "The study")->required();
  rollback->add_option("--reason", arguments->reason, "Why; goes to the audit log")->required();
  rollback->footer("Example:\n  consilium model rollback hippocampus --reason 'worse at umc'");
  runs(rollback, Rollback);

  CLI::App* collect = model.add_subcommand(
      "gc", "Remove weights past retention_versions, and what crashes left; also done daily");
  collect->add_flag("--dry-run", arguments->dry_run, "Only say what would go");
  collect->footer("Example:\n  consilium model gc --dry-run");
  runs(collect, Collect);
}

}  // namespace consilium::coordinator
