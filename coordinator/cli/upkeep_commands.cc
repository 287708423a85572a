// consilium backup | restore | doctor | renew
#include <filesystem>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "coordinator/home.h"
#include "coordinator/upkeep/backup.h"
#include "coordinator/upkeep/doctor.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr absl::Duration kUpkeepPatience = absl::Hours(4);  // every chunk is read

struct UpkeepArguments {
  std::string folder;
  bool quick = false;
};

absl::StatusOr<ExitCode> Backup(Cli& cli, const UpkeepArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::CreateBackupRequest request;
  std::error_code error;
  request.set_folder(std::filesystem::absolute(arguments.folder, error).string());
  CSL_ASSIGN_OR_RETURN(const v1::CreateBackupReply reply,
                       client->Call(&v1::Admin::Stub::CreateBackup, request, kUpkeepPatience));
  return cli.Show(
      reply, absl::StrCat("Backup ", Clean(reply.name()), ", verified: ", reply.audit_size(),
                          " audit entries, ", reply.chunks(), " chunks of weights (",
                          FormatBytes(reply.bytes()), "), ", reply.chunks_copied(),
                          " of them new in this folder.\nIt holds the keys of the home: guard it "
                          "like the home.\n"));
}

absl::StatusOr<ExitCode> Restore(Cli& cli, const UpkeepArguments& arguments) {
  if (cli.home.empty()) return absl::InvalidArgumentError("--home: name the new folder");
  CSL_ASSIGN_OR_RETURN(const BackupReport report, RestoreBackup(arguments.folder, cli.home));
  v1::CreateBackupReply reply;
  reply.set_name(report.name);
  reply.set_bytes(report.bytes);
  reply.set_chunks(report.chunks);
  reply.set_chunks_copied(report.chunks_copied);
  reply.set_audit_size(report.audit_size);
  return cli.Show(
      reply, absl::StrCat("Restored ", Clean(report.name), " to ", cli.home, ", verified: ",
                          report.audit_size, " audit entries, ", report.chunks,
                          " chunks of weights.\nNever run it beside the coordinator that it was "
                          "made from. Next:\n  consilium-coordinator --home ",
                          cli.home, "\n"));
}

absl::StatusOr<ExitCode> Renew(Cli& cli) {
  if (cli.home.empty()) return absl::InvalidArgumentError("--home: name the coordinator's home");
  CSL_RETURN_IF_ERROR(RenewHome(cli.home, cli.around.clock));
  cli.out << "Issued the certificates of server and administrator in " << cli.home
          << " anew, for the keys they have. A coordinator that runs shows its own to the next "
             "connection; nothing has to be restarted.\n";
  return ExitCode::kOk;
}

v1::RunDoctorReply ToMessage(const Diagnosis& diagnosis) {
  v1::RunDoctorReply reply;
  for (const HomeFinding& finding : diagnosis.findings) {
    v1::Finding& out = *reply.add_findings();
    out.set_severity(finding.severity == Severity::kError ? "error" : "warning");
    out.set_what(finding.what);
    out.set_remedy(finding.remedy);
  }
  reply.set_records_checked(diagnosis.records);
  reply.set_chunks_checked(diagnosis.chunks);
  return reply;
}

// The coordinator that runs, or its home where none answers.
absl::StatusOr<v1::RunDoctorReply> Examine(Cli& cli, const UpkeepArguments& arguments) {
  const auto client = cli.Connect();
  absl::Status status = client.status();
  if (client.ok()) {
    v1::RunDoctorRequest request;
    request.set_quick(arguments.quick);
    absl::StatusOr<v1::RunDoctorReply> reply =
        (*client)->Call(&v1::Admin::Stub::RunDoctor, request, kUpkeepPatience);
    if (reply.ok()) return reply;
    status = reply.status();
  }
  const bool local = !cli.home.empty() && cli.coordinator.empty() && cli.credentials.empty();
  const bool silent = absl::IsUnavailable(status) || absl::IsNotFound(status);
  if (!local || !silent) return status;
  CSL_RETURN_IF_ERROR(ReadCoordinatorOptions(cli.home).status());
  return ToMessage(ExamineHome(cli.home, arguments.quick ? DoctorMode::kQuick : DoctorMode::kFull,
                               cli.around.clock));
}

absl::StatusOr<ExitCode> Doctor(Cli& cli, const UpkeepArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const v1::RunDoctorReply reply, Examine(cli, arguments));
  Table table({"severity", "finding", "remedy"});
  bool error = false;
  for (const v1::Finding& finding : reply.findings()) {
    table.Add({finding.severity(), finding.what(), finding.remedy()});
    error = error || finding.severity() == "error";
  }
  const std::string summary =
      absl::StrCat(reply.records_checked(), " records and ", reply.chunks_checked(),
                   " chunks examined: ", reply.findings_size(), " findings.\n");
  CSL_RETURN_IF_ERROR(cli.ShowList(reply, reply.findings(),
                                   absl::StrCat(table.empty() ? "" : table.Text(), summary))
                          .status());
  return error ? ExitCode::kCheckFailed : ExitCode::kOk;
}

}  // namespace

void AddUpkeepCommands(CLI::App& app, Cli& cli) {
  auto arguments = std::make_shared<UpkeepArguments>();
  const auto runs = [&cli, arguments](CLI::App* command, auto action) {
    command->callback([&cli, arguments, action] {
      cli.action = [&cli, arguments, action] { return action(cli, *arguments); };
    });
  };
  CLI::App* backup = app.add_subcommand(
      "backup", "Back the coordinator up while it runs; weights are copied once per folder");
  backup->add_option("DIR", arguments->folder, "A folder on the coordinator's machine")->required();
  backup->footer("Example:\n  consilium --home /srv/consilium backup /backup/consilium");
  runs(backup, Backup);

  CLI::App* restore = app.add_subcommand("restore", "Make a home from a backup, offline");
  restore->add_option("BACKUP", arguments->folder, "DIR of the backups (the newest), or DIR/TIME")
      ->required();
  restore->footer("Example:\n  consilium restore /backup/consilium --home /srv/consilium-new");
  runs(restore, Restore);

  CLI::App* doctor = app.add_subcommand(
      "doctor", "Find every inconsistency of the home; exit code 1 where there is an error");
  doctor->add_flag("--quick", arguments->quick,
                   "Without reading every chunk, every block of the store and every audit entry");
  doctor->footer("Example:\n  consilium --home /srv/consilium doctor --quick");
  runs(doctor, Doctor);

  CLI::App* renew = app.add_subcommand(
      "renew", "Issue the home's server and administrator certificates anew; works while it runs");
  renew->footer(
      "Needs ca/ca.key, which may be kept offline otherwise. Sites renew theirs by themselves.\n"
      "Example:\n  consilium --home /srv/consilium renew");
  runs(renew, [](Cli& run, const UpkeepArguments&) { return Renew(run); });
}

}  // namespace consilium::coordinator
