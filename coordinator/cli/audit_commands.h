// The parts of `consilium audit`, a file each.
#ifndef CONSILIUM_COORDINATOR_CLI_AUDIT_COMMANDS_H_
#define CONSILIUM_COORDINATOR_CLI_AUDIT_COMMANDS_H_

#include <string>

#include "coordinator/audit/report.h"
#include "coordinator/cli/cli.h"

namespace consilium::coordinator {

// The conditions that searches and exports share, as typed.
struct AuditFilter {
  std::string since;
  std::string until;
  std::string actor;
  std::string action;
  std::string study;
  int64_t round = 0;
  std::string version;
};
void AddAuditFilter(CLI::App& command, AuditFilter& filter);
// INVALID_ARGUMENT: a time that does not read.
absl::StatusOr<v1::SearchAuditRequest> MakeAuditRequest(const Cli& cli, const AuditFilter& filter);

// The report as text with `more` below it, or as JSON alone. kCheckFailed: something does not hold.
absl::StatusOr<ExitCode> ShowAuditReport(Cli& cli, const AuditReport& report,
                                         const std::string& more);

void AddAuditSearch(CLI::App& audit, Cli& cli);  // search, show: audit_commands.cc
void AddAuditExport(CLI::App& audit, Cli& cli);  // export, verify: audit_export_commands.cc
void AddAuditProofs(CLI::App& audit, Cli& cli);  // prove, checkpoint, erase: audit_proof_commands.cc

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_AUDIT_COMMANDS_H_
