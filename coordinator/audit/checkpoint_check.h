// A checkpoint against what a reviewer trusts: the policy file, and a checkpoint held from before.
//
// Thread-safe functions; nothing here returns an error: what does not hold goes into the report.
#ifndef CONSILIUM_COORDINATOR_AUDIT_CHECKPOINT_CHECK_H_
#define CONSILIUM_COORDINATOR_AUDIT_CHECKPOINT_CHECK_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "coordinator/audit/report.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/policy.h"

namespace consilium::coordinator {

// Parses the note, verifies the log's signature and the quorum of witnesses, and fills in the report:
// origin, size, root, keys; faults; a flag for a signature by a key that the policy does not name.
// nullopt: no checkpoint could be read. A checkpoint comes back even if its signatures do not hold.
std::optional<privacy::Checkpoint> CheckCheckpoint(absl::string_view note,
                                                   const privacy::Policy& policy,
                                                   AuditReport& report);

// The same for the checkpoint that the reviewer held: it has to be signed by the log, and to name the
// same log as `origin`. Its witnesses are not counted again.
std::optional<privacy::Checkpoint> CheckHeldCheckpoint(absl::string_view note,
                                                       const privacy::Policy& policy,
                                                       absl::string_view origin,
                                                       AuditReport& report);

// For two checkpoints of which only the size says more. True: sizes are equal or nothing follows,
// and the verdict is in the report.
bool CompareSameSize(const privacy::Checkpoint& held, const privacy::Checkpoint& present,
                     AuditReport& report);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_CHECKPOINT_CHECK_H_
