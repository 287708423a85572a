// `consilium audit prove | checkpoint | erase`.
#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/audit/proof_verifier.h"
#include "coordinator/cli/audit_commands.h"
#include "coordinator/cli/audit_trust.h"
#include "coordinator/cli/format.h"
#include "privacy/transparency/proof.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct ProofArguments {
  uint64_t index = 0;
  std::string to;
  bool accept_policy = false;
  std::string name;
  std::string reason;
  bool yes = false;
};

absl::StatusOr<AuditTrust> LoadTrust(Cli& cli, const ProofArguments& arguments,
                                     const std::string& offered) {
  CSL_ASSIGN_OR_RETURN(const std::string folder, cli.CredentialsFolder());
  return AuditTrust::Load(folder, offered,
                          arguments.accept_policy ? PolicyChange::kAccept : PolicyChange::kRefuse,
                          cli.err);
}

absl::StatusOr<ExitCode> Prove(Cli& cli, const ProofArguments& arguments) {
  if (!absl::EndsWith(arguments.to, ".tlog-proof")) {
    return absl::InvalidArgumentError("--to: the file's name must end in .tlog-proof");
  }
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::GetAuditCheckpointReply newest,
                       client->Call(&v1::Admin::Stub::GetAuditCheckpoint,
                                    v1::GetAuditCheckpointRequest()));
  CSL_ASSIGN_OR_RETURN(const AuditTrust trust, LoadTrust(cli, arguments, newest.policy()));
  v1::ProveAuditRequest request;
  request.set_index(arguments.index);
  CSL_ASSIGN_OR_RETURN(const v1::ProveAuditReply reply,
                       client->Call(&v1::Admin::Stub::ProveAudit, request));
  CSL_ASSIGN_OR_RETURN(privacy::LogProof proof, privacy::ParseLogProof(reply.proof()));
  if (proof.index != arguments.index) {
    return absl::DataLossError("the coordinator proves another entry than was asked for");
  }
  proof.extra = reply.entry();
  const std::string text = privacy::EncodeLogProof(proof);
  CSL_ASSIGN_OR_RETURN(const AuditReport report, VerifyProofFile(text, trust.policy(), ""));
  CSL_RETURN_IF_ERROR(WriteFileAtomic(arguments.to, text));
  return ShowAuditReport(cli, report, absl::StrCat("written to ", arguments.to, "\n"));
}

absl::StatusOr<ExitCode> ShowCheckpoint(Cli& cli, const ProofArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::GetAuditCheckpointReply newest,
                       client->Call(&v1::Admin::Stub::GetAuditCheckpoint,
                                    v1::GetAuditCheckpointRequest()));
  CSL_ASSIGN_OR_RETURN(const AuditTrust trust, LoadTrust(cli, arguments, newest.policy()));
  CSL_ASSIGN_OR_RETURN(const AuditReport report,
                       VerifyCheckpointFile(newest.checkpoint(), trust.policy(), ""));
  if (!arguments.to.empty()) CSL_RETURN_IF_ERROR(WriteFileAtomic(arguments.to, newest.checkpoint()));
  std::string more;
  if (newest.size() > report.size) {
    more = absl::StrCat(newest.size() - report.size, " newer entries are not signed yet\n");
  }
  return ShowAuditReport(cli, report, more);
}

absl::StatusOr<ExitCode> Erase(Cli& cli, const ProofArguments& arguments) {
  if (!arguments.yes) {
    return absl::InvalidArgumentError(
        "what is erased cannot be brought back, from a backup neither if you erase there too; "
        "repeat with --yes");
  }
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::EraseAuditNameRequest request;
  request.set_name(arguments.name);
  request.set_reason(arguments.reason);
  CSL_ASSIGN_OR_RETURN(const v1::EraseAuditNameReply reply,
                       client->Call(&v1::Admin::Stub::EraseAuditName, request));
  return cli.Show(reply, absl::StrCat("Erased in ", reply.erased(),
                                      " places. Entries and proofs stay as they were. Backups made "
                                      "before still hold the name.\n"));
}

}  // namespace

void AddAuditProofs(CLI::App& audit, Cli& cli) {
  auto proving = std::make_shared<ProofArguments>();
  CLI::App* prove = audit.add_subcommand("prove", "Write a proof of one entry to a file");
  prove->add_option("INDEX", proving->index, "The entry, from 0 on")->required();
  prove->add_option("--to", proving->to, "The file to write, NAME.tlog-proof")->required();
  prove->add_flag("--accept-policy", proving->accept_policy, "Pin the policy now offered");
  prove->footer("Example:\n  consilium audit prove 17 --to approval.tlog-proof");
  prove->callback(
      [&cli, proving] { cli.action = [&cli, proving] { return Prove(cli, *proving); }; });

  auto heading = std::make_shared<ProofArguments>();
  CLI::App* checkpoint = audit.add_subcommand(
      "checkpoint", "The newest signed head of the log, checked against the pinned policy");
  checkpoint->add_option("--to", heading->to, "Keep it in this file, to compare with later");
  checkpoint->add_flag("--accept-policy", heading->accept_policy, "Pin the policy now offered");
  checkpoint->footer("Example:\n  consilium audit checkpoint --to 2026-11.checkpoint");
  checkpoint->callback(
      [&cli, heading] { cli.action = [&cli, heading] { return ShowCheckpoint(cli, *heading); }; });

  auto erasing = std::make_shared<ProofArguments>();
  CLI::App* erase =
      audit.add_subcommand("erase", "Erase a person's name from the log; the proofs stay");
  erase->add_option("NAME", erasing->name, "As it was recorded")->required();
  erase->add_option("--reason", erasing->reason, "Goes into the log")->required();
  erase->add_flag("--yes", erasing->yes, "Really");
  erase->footer("Example:\n  consilium audit erase alice --reason \"request of 3 May\" --yes");
  erase->callback(
      [&cli, erasing] { cli.action = [&cli, erasing] { return Erase(cli, *erasing); }; });
}

}  // namespace consilium::coordinator
