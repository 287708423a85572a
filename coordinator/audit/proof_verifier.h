// Verifies the small files: a C2SP tlog-proof of one entry (FORMAT.md section 4), a bare checkpoint.
//
// What does not hold goes into the report. Thread-safe functions.
#ifndef CONSILIUM_COORDINATOR_AUDIT_PROOF_VERIFIER_H_
#define CONSILIUM_COORDINATOR_AUDIT_PROOF_VERIFIER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/audit/checkpoint_check.h"
#include "coordinator/audit/report.h"

namespace consilium::coordinator {

enum class AuditFileKind { kExport, kProof, kCheckpoint, kUnknown };
// By its first bytes.
AuditFileKind KindOfAuditFile(absl::string_view begin);

// The entry is the one in the proof's `extra` line. `held`: the reviewer's own checkpoint, "" for none.
// INVALID_ARGUMENT: no proof.
absl::StatusOr<AuditReport> VerifyProofFile(absl::string_view text, const privacy::Policy& policy,
                                            const std::string& held);
// INVALID_ARGUMENT: no signed note.
absl::StatusOr<AuditReport> VerifyCheckpointFile(absl::string_view text,
                                                 const privacy::Policy& policy,
                                                 const std::string& held);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_PROOF_VERIFIER_H_
