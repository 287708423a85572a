#include "coordinator/audit/proof_verifier.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/audit/entry_view.h"
#include "privacy/transparency/proof.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Checkpoint;

// A file with one checkpoint can be compared with another of the same size, no more.
void CompareHeld(const Checkpoint& present, const privacy::Policy& policy, const std::string& held,
                 AuditReport& report) {
  if (held.empty()) return;
  const std::optional<Checkpoint> older =
      CheckHeldCheckpoint(held, policy, present.origin, report);
  if (!older || CompareSameSize(*older, present, report)) return;
  report.Fault(std::nullopt,
               absl::StrCat("this file cannot show that checkpoints of ", older->size, " and ",
                            present.size, " entries are of one history; verify a full export with "
                            "--checkpoint instead"));
}

}  // namespace

AuditFileKind KindOfAuditFile(absl::string_view begin) {
  if (absl::StartsWith(begin, "{")) return AuditFileKind::kExport;
  if (absl::StartsWith(begin, "c2sp.org/tlog-proof@v1\n")) return AuditFileKind::kProof;
  if (absl::StrContains(begin, "\n\n\xe2\x80\x94 ")) return AuditFileKind::kCheckpoint;
  return AuditFileKind::kUnknown;
}

absl::StatusOr<AuditReport> VerifyProofFile(absl::string_view text, const privacy::Policy& policy,
                                            const std::string& held) {
  CSL_ASSIGN_OR_RETURN(const privacy::LogProof proof, privacy::ParseLogProof(text));
  AuditReport report;
  report.kind = "proof";
  report.index = proof.index;
  report.entry = proof.extra;
  const std::optional<Checkpoint> checkpoint = CheckCheckpoint(proof.checkpoint, policy, report);
  if (!checkpoint) return report;
  const absl::Status included =
      privacy::VerifyInclusion(privacy::LeafHash(proof.extra), proof.index, checkpoint->size,
                               proof.hashes, checkpoint->root);
  if (!included.ok()) {
    report.Fault(proof.index, "the entry or its proof was altered: it is not under the signed root");
  } else if (const auto stamp = ReadEntryStamp(proof.extra); !stamp.ok()) {
    report.Fault(proof.index, std::string(stamp.status().message()));
  } else if (stamp->index != proof.index) {
    report.Fault(proof.index, absl::StrCat("calls itself ", stamp->index));
  }
  CompareHeld(*checkpoint, policy, held, report);
  return report;
}

absl::StatusOr<AuditReport> VerifyCheckpointFile(absl::string_view text,
                                                 const privacy::Policy& policy,
                                                 const std::string& held) {
  CSL_RETURN_IF_ERROR(privacy::SignedNote::Parse(text).status());
  AuditReport report;
  report.kind = "checkpoint";
  const std::optional<Checkpoint> checkpoint = CheckCheckpoint(text, policy, report);
  if (checkpoint) CompareHeld(*checkpoint, policy, held, report);
  return report;
}

}  // namespace consilium::coordinator
