// The program `consilium-audit`: a reviewer's verifier. It reads files and nothing else; it links the
// audit formats and their cryptography only.
#include <iostream>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/audit/entry_view.h"
#include "coordinator/audit/export_verifier.h"
#include "coordinator/audit/proof_verifier.h"
#include "proto/base/cli.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kSmallFileBytesMax = 4 << 20;

constexpr const char* kFooter =
    "Examples:\n"
    "  consilium-audit verify audit.jsonl --policy audit.policy\n"
    "  consilium-audit verify audit.jsonl --policy audit.policy --checkpoint of-last-year.checkpoint\n"
    "  consilium-audit verify approval.tlog-proof --policy audit.policy --output json\n"
    "  consilium-audit show audit.jsonl\n"
    "The policy holds the keys of the log and its witnesses: take it from somebody you trust, not from\n"
    "whom you audit. What can be named and what cannot: coordinator/audit/FORMAT.md.\n"
    "Exit codes: 0 everything holds, 1 a check failed, 2 usage or a file that does not read.";

struct Arguments {
  std::string file;
  std::string policy;
  std::string checkpoint;
  OutputFormat format = OutputFormat::kTable;
};

absl::StatusOr<std::string> ReadSmall(const char* what, const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kSmallFileBytesMax);
  if (!text.ok()) return Annotate(text.status(), what);
  return text;
}

absl::StatusOr<AuditFileKind> KindOf(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const ByteSource source, FileSource(path));
  std::string begin(4096, '\0');
  CSL_ASSIGN_OR_RETURN(const size_t size, source(begin.data(), begin.size()));
  begin.resize(size);
  return KindOfAuditFile(begin);
}

absl::StatusOr<AuditReport> VerifyExportFile(const Arguments& arguments,
                                             const privacy::Policy& policy,
                                             const std::string& held) {
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, FileBytes(arguments.file));
  CSL_ASSIGN_OR_RETURN(ByteSource source, FileSource(arguments.file));
  std::optional<Progress> progress;
  ExportVisit visit;
  if (bytes > 64 << 20) {
    progress.emplace("verify", "bytes", bytes);
    visit.on_bytes = [&progress](uint64_t done) { progress->Update(done); };
  }
  absl::StatusOr<AuditReport> report =
      VerifyExport(std::move(source), policy, held, visit);
  if (progress) progress->Finish();
  return report;
}

absl::StatusOr<AuditReport> Check(const Arguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const std::string policy_text, ReadSmall("--policy", arguments.policy));
  const absl::StatusOr<privacy::Policy> policy = privacy::Policy::Parse(policy_text);
  if (!policy.ok()) return Annotate(policy.status(), "--policy");
  std::string held;
  if (!arguments.checkpoint.empty()) {
    CSL_ASSIGN_OR_RETURN(held, ReadSmall("--checkpoint", arguments.checkpoint));
    if (KindOfAuditFile(held) != AuditFileKind::kCheckpoint) {
      return absl::InvalidArgumentError("--checkpoint: not a signed checkpoint");
    }
  }
  CSL_ASSIGN_OR_RETURN(const AuditFileKind kind, KindOf(arguments.file));
  if (kind == AuditFileKind::kExport) return VerifyExportFile(arguments, *policy, held);
  if (kind == AuditFileKind::kUnknown) {
    return absl::InvalidArgumentError(
        absl::StrCat(BaseName(arguments.file), " is neither an export (.jsonl) nor a .tlog-proof nor "
                     "a checkpoint; a CSV or PDF proves nothing: verify the .jsonl it names"));
  }
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadSmall("FILE", arguments.file));
  return kind == AuditFileKind::kProof ? VerifyProofFile(text, *policy, held)
                                       : VerifyCheckpointFile(text, *policy, held);
}

absl::StatusOr<ExitCode> Verify(const Arguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const AuditReport report, Check(arguments));
  std::cout << (arguments.format == OutputFormat::kTable ? FormatReport(report)
                                                         : ReportJson(report) + "\n");
  return report.ok() ? ExitCode::kOk : ExitCode::kCheckFailed;
}

// The entries as a table, a page of rows at a time so that memory stays small.
absl::StatusOr<ExitCode> Show(const Arguments& arguments) {
  CSL_ASSIGN_OR_RETURN(ByteSource source, FileSource(arguments.file));
  LineReader reader(std::move(source));
  const std::vector<std::string> heading = {"index",   "time",  "actor", "action",
                                            "outcome", "about", "detail"};
  std::vector<std::vector<std::string>> rows = {heading};
  const auto flush = [&] {
    for (auto& row : rows) {
      for (std::string& cell : row) {
        if (cell.empty()) cell = "-";
        for (char& c : cell) {
          if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
        }
      }
    }
    std::cout << FormatTable(rows);
    rows.assign(1, heading);
  };
  bool first = true;
  for (;;) {
    const absl::StatusOr<absl::string_view> text = reader.Next();
    if (absl::IsOutOfRange(text.status())) break;
    if (!text.ok()) return text.status();
    const absl::StatusOr<ExportLine> line = ParseExportLine(*text);
    if (!line.ok()) return Annotate(line.status(), "not an export, or a damaged one");
    if (std::exchange(first, false) && line->kind != ExportLine::Kind::kHeader) {
      return absl::InvalidArgumentError("not an export: its first line is not a header");
    }
    if (line->kind != ExportLine::Kind::kEntry) continue;
    const absl::StatusOr<EntryView> view = ReadEntryView(line->entry, line->opened);
    if (!view.ok()) {
      rows.push_back({absl::StrCat(line->index), "", "", "", "", "", "does not read as an entry"});
      continue;
    }
    const EntryRow row = MakeEntryRow(*view);
    rows.push_back({row.index, row.time, row.actor, row.action, row.outcome, row.about,
                    row.detail});
    if (rows.size() > 2000) flush();
  }
  if (rows.size() > 1) flush();
  std::cerr << "Shown as they stand in the file; `consilium-audit verify` says whether they hold.\n";
  return ExitCode::kOk;
}

int Run(int argc, char** argv) {
  Arguments arguments;
  std::function<absl::StatusOr<ExitCode>()> action;
  CLI::App app("Verifies exports, proofs and checkpoints of an audit log, offline.",
               "consilium-audit");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "consilium-audit " CONSILIUM_VERSION);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return absl::StrCat("consilium-audit: ", error.what(), "; see `consilium-audit --help`\n");
  });
  CLI::App* verify = app.add_subcommand("verify", "Check a file against a policy");
  verify->add_option("FILE", arguments.file, "Export (.jsonl), .tlog-proof or checkpoint")->required();
  verify->add_option("--policy", arguments.policy, "Keys of the log and its witnesses")->required();
  verify->add_option("--checkpoint", arguments.checkpoint,
                     "A checkpoint that you kept: the file has to continue it");
  const std::map<std::string, OutputFormat> formats = {{"table", OutputFormat::kTable},
                                                       {"json", OutputFormat::kJson}};
  verify->add_option("--output", arguments.format, "table or json")
      ->transform(CLI::CheckedTransformer(formats))
      ->option_text("FORMAT");
  verify->footer(kFooter);
  verify->callback([&] { action = [&] { return Verify(arguments); }; });
  CLI::App* show = app.add_subcommand("show", "The entries of an export as a table, unverified");
  show->add_option("EXPORT", arguments.file, "The .jsonl")->required();
  show->footer("Example:\n  consilium-audit show audit.jsonl | less -S");
  show->callback([&] { action = [&] { return Show(arguments); }; });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  const absl::StatusOr<ExitCode> result = action();
  if (result.ok()) return static_cast<int>(*result);
  std::cerr << "consilium-audit: " << result.status().message() << "\n";
  return static_cast<int>(ExitCode::kUsage);
}

}  // namespace
}  // namespace consilium::coordinator

int main(int argc, char** argv) { return consilium::coordinator::Run(argc, argv); }
