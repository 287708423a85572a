// `consilium audit export` and `verify`: the coordinator's log on this machine, verified while it comes.
#include <unistd.h>

#include <optional>

#include "CLI/CLI.hpp"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/audit/export_verifier.h"
#include "coordinator/audit/render.h"
#include "coordinator/cli/audit_commands.h"
#include "coordinator/cli/audit_trust.h"
#include "coordinator/cli/format.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct ExportArguments {
  AuditFilter filter;
  uint64_t from = 0;
  std::vector<std::string> to;  // a file, and perhaps an index
  std::string to_file;
  uint64_t to_index = 0;
  bool disclose = false;
  bool accept_policy = false;
  std::string checkpoint;
};

bool IsIndex(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

absl::Status SplitTo(ExportArguments& arguments) {
  for (const std::string& one : arguments.to) {
    if (IsIndex(one)) {
      if (!absl::SimpleAtoi(one, &arguments.to_index) || arguments.to_index <= arguments.from) {
        return absl::InvalidArgumentError("--to INDEX: must be above --from");
      }
    } else if (arguments.to_file.empty()) {
      arguments.to_file = one;
    } else {
      return absl::InvalidArgumentError("--to: one file and at most one index");
    }
  }
  for (const char* suffix : {".jsonl", ".csv", ".pdf"}) {
    if (absl::EndsWith(arguments.to_file, suffix)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError("--to FILE: the name must end in .jsonl, .csv or .pdf");
}

// The bytes of an export on their way to the verifier, counted, hashed and perhaps written to a file.
struct ArrivingExport {
  AuditExportStream& stream;
  std::optional<File> file;
  uint64_t bytes = 0;
  privacy::Sha256Stream digest;

  absl::StatusOr<size_t> Read(char* out, size_t size) {
    CSL_ASSIGN_OR_RETURN(const size_t got, stream.Read(out, size));
    digest.Update({out, got});
    if (file) CSL_RETURN_IF_ERROR(file->WriteAt(bytes, {out, got}));
    bytes += got;
    return got;
  }
  // What the verifier did not want to see any more still belongs into the file.
  absl::Status Drain() {
    std::string piece(64 * 1024, '\0');
    for (;;) {
      CSL_ASSIGN_OR_RETURN(const size_t got, Read(piece.data(), piece.size()));
      if (got == 0) return file ? file->Sync() : absl::OkStatus();
    }
  }
};

absl::StatusOr<AuditReport> ReceiveAndVerify(ArrivingExport& arriving, const AuditTrust& trust,
                                             const std::string& held, uint64_t entries) {
  Progress progress("audit", "entries", entries);
  ExportVisit visit;
  uint64_t done = 0;
  visit.on_entry = [&](const ExportLine&) {
    progress.Update(++done);
    return absl::OkStatus();
  };
  CSL_ASSIGN_OR_RETURN(
      AuditReport report,
      VerifyExport([&arriving](char* out, size_t size) { return arriving.Read(out, size); },
                   trust.policy(), held, visit));
  CSL_RETURN_IF_ERROR(arriving.Drain());
  progress.Finish();
  return report;
}

struct Session {
  std::unique_ptr<AdminClient> client;
  v1::GetAuditCheckpointReply newest;
  AuditTrust trust;
};

absl::StatusOr<Session> Open(Cli& cli, const ExportArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const std::string folder, cli.CredentialsFolder());
  CSL_ASSIGN_OR_RETURN(std::unique_ptr<AdminClient> client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(v1::GetAuditCheckpointReply newest,
                       client->Call(&v1::Admin::Stub::GetAuditCheckpoint,
                                    v1::GetAuditCheckpointRequest()));
  CSL_ASSIGN_OR_RETURN(
      AuditTrust trust,
      AuditTrust::Load(folder, newest.policy(),
                       arguments.accept_policy ? PolicyChange::kAccept : PolicyChange::kRefuse,
                       cli.err));
  return Session{std::move(client), std::move(newest), std::move(trust)};
}

absl::StatusOr<ExitCode> VerifyAll(Cli& cli, const ExportArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const Session session, Open(cli, arguments));
  std::string held = session.trust.held();
  if (!arguments.checkpoint.empty()) {
    CSL_ASSIGN_OR_RETURN(held, ReadFile(arguments.checkpoint, 1 << 20));
  }
  const auto stream = session.client->ExportAudit(v1::ExportAuditRequest());
  ArrivingExport arriving{*stream, std::nullopt, 0, {}};
  CSL_ASSIGN_OR_RETURN(const AuditReport report,
                       ReceiveAndVerify(arriving, session.trust, held, session.newest.size()));
  CSL_RETURN_IF_ERROR(session.trust.Keep(report));
  return ShowAuditReport(cli, report, "");
}

absl::Status Render(const Cli& cli, const ExportArguments& arguments, const std::string& jsonl,
                    const std::string& digest, const AuditReport& report) {
  Progress progress("render", "entries", report.shown);
  const RenderJob job = {.jsonl_path = jsonl,
                         .jsonl_sha256 = digest,
                         .out_path = arguments.to_file,
                         .made = cli.around.clock.Now(),
                         .on_entry = [&progress](uint64_t done) { progress.Update(done); }};
  CSL_RETURN_IF_ERROR(absl::EndsWith(arguments.to_file, ".csv") ? RenderCsv(job, report)
                                                                : RenderPdf(job, report));
  progress.Finish();
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Export(Cli& cli, ExportArguments arguments) {
  CSL_RETURN_IF_ERROR(SplitTo(arguments));
  const bool plain = absl::EndsWith(arguments.to_file, ".jsonl");
  const std::string jsonl = plain ? arguments.to_file : absl::StrCat(arguments.to_file, ".jsonl");
  for (const std::string& path : {arguments.to_file, jsonl}) {
    if (PathExists(path)) {
      return absl::AlreadyExistsError(absl::StrCat(BaseName(path), " exists; name a new file"));
    }
  }
  v1::ExportAuditRequest request;
  CSL_ASSIGN_OR_RETURN(*request.mutable_filter(), MakeAuditRequest(cli, arguments.filter));
  request.set_from_index(arguments.from);
  request.set_to_index(arguments.to_index);
  request.set_disclose(arguments.disclose);
  CSL_ASSIGN_OR_RETURN(const Session session, Open(cli, arguments));

  const std::string partial = absl::StrCat(jsonl, ".partial-", ::getpid());
  absl::Cleanup remove = [&partial] { ::unlink(partial.c_str()); };
  const auto stream = session.client->ExportAudit(request);
  ArrivingExport arriving{*stream, std::nullopt, 0, {}};
  CSL_ASSIGN_OR_RETURN(arriving.file, File::Open(partial, File::Mode::kReadWriteCreate));
  const uint64_t end = arguments.to_index == 0 ? session.newest.size() : arguments.to_index;
  CSL_ASSIGN_OR_RETURN(const AuditReport report,
                       ReceiveAndVerify(arriving, session.trust, "",
                                        end > arguments.from ? end - arguments.from : 0));
  const std::string digest = HexEncode(arriving.digest.Finish());
  CSL_RETURN_IF_ERROR(RenameDurably(partial, jsonl));
  std::move(remove).Cancel();
  if (!plain) CSL_RETURN_IF_ERROR(Render(cli, arguments, jsonl, digest, report));
  return ShowAuditReport(cli, report,
                    absl::StrCat(plain ? "" : absl::StrCat(arguments.to_file, " made from "), jsonl,
                                 ", ", FormatBytes(arriving.bytes), ", sha256 ", digest, "\n"));
}

}  // namespace

absl::StatusOr<ExitCode> ShowAuditReport(Cli& cli, const AuditReport& report, const std::string& more) {
  cli.out << (cli.format == OutputFormat::kTable ? FormatReport(report) + more
                                                 : ReportJson(report) + "\n");
  return report.ok() ? ExitCode::kOk : ExitCode::kCheckFailed;
}

void AddAuditExport(CLI::App& audit, Cli& cli) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = audit.add_subcommand(
      "export", "Write the log, or what of it fits all of the conditions, to a file that proves itself");
  command->add_option("--from", arguments->from, "First index")->type_name("INDEX");
  command
      ->add_option("--to", arguments->to,
                   "The file to write: .jsonl (authoritative), .csv or .pdf (made from a .jsonl, which "
                   "is written beside it); once more with a number: the index to end before")
      ->required()
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddAuditFilter(*command, arguments->filter);
  command->add_flag("--disclose", arguments->disclose,
                    "With the names behind commitments, where they were not erased");
  command->add_flag("--accept-policy", arguments->accept_policy, "Pin the policy now offered");
  command->footer(
      "Examples:\n"
      "  consilium audit export --to audit.jsonl\n"
      "  consilium audit export --from 100 --to 200 --to audit.pdf\n"
      "  consilium audit export --study hippocampus --since 30d --disclose --to hippocampus.csv");
  command->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Export(cli, *arguments); }; });

  auto verifying = std::make_shared<ExportArguments>();
  CLI::App* verify = audit.add_subcommand(
      "verify", "Fetch the whole log and verify it here, against the pinned policy and the last "
                "checkpoint that held");
  verify->add_option("--checkpoint", verifying->checkpoint, "Compare with this checkpoint instead")
      ->type_name("FILE");
  verify->add_flag("--accept-policy", verifying->accept_policy, "Pin the policy now offered");
  verify->footer("Example:\n  consilium audit verify");
  verify->callback(
      [&cli, verifying] { cli.action = [&cli, verifying] { return VerifyAll(cli, *verifying); }; });
}

}  // namespace consilium::coordinator
