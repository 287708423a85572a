#include "coordinator/audit/checkpoint_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/bytes.h"

namespace consilium::coordinator {
namespace {

using privacy::Checkpoint;
using privacy::Policy;
using privacy::SignedNote;

bool Named(const privacy::NoteSignature& signature, const Policy& policy) {
  return std::any_of(policy.logs.begin(), policy.logs.end(),
                     [&](const Policy::Log& log) { return signature.IsBy(log.key); }) ||
         std::any_of(policy.witnesses.begin(), policy.witnesses.end(),
                     [&](const Policy::Witness& one) { return signature.IsBy(one.key); });
}

// The checkpoint with a signature by a log of the policy that is named as its origin, or why not.
absl::Status LogSignature(const SignedNote& note, const Checkpoint& checkpoint,
                          const Policy& policy, std::string& key_name) {
  absl::Status why = absl::NotFoundError("no key of the policy is named as its origin");
  for (const Policy::Log& log : policy.logs) {
    if (log.key.name != checkpoint.origin) continue;
    why = VerifyNote(note, log.key);
    if (!why.ok()) continue;
    key_name = absl::StrFormat("%s (key %08x)", log.key.name, log.key.id());
    return why;
  }
  return why;
}

}  // namespace

std::optional<Checkpoint> CheckCheckpoint(absl::string_view text, const Policy& policy,
                                          AuditReport& report) {
  const absl::StatusOr<SignedNote> note = SignedNote::Parse(text);
  const absl::StatusOr<Checkpoint> checkpoint =
      note.ok() ? privacy::ParseCheckpoint(note->text) : absl::StatusOr<Checkpoint>(note.status());
  if (!checkpoint.ok()) {
    report.Fault(std::nullopt,
                 absl::StrCat("the checkpoint does not read: ", checkpoint.status().message()));
    return std::nullopt;
  }
  report.note = std::string(text);
  report.origin = checkpoint->origin;
  report.size = checkpoint->size;
  report.root = Base64Encode(privacy::HashBytes(checkpoint->root));
  for (const privacy::NoteSignature& signature : note->signatures) {
    if (Named(signature, policy)) continue;
    report.Flag(std::nullopt,
                absl::StrFormat("signed by %s (key %08x), which the policy does not name: "
                                "not counted", signature.name, signature.key_id));
  }
  for (const Policy::Witness& witness : policy.witnesses) {
    const absl::StatusOr<absl::Time> time = FindCosignature(*note, witness.key);
    if (time.ok()) report.witnesses.push_back(witness.key.name);
  }
  const absl::Status log = LogSignature(*note, *checkpoint, policy, report.log_key);
  if (!log.ok()) {
    report.Fault(std::nullopt, absl::StrCat("the checkpoint is not signed by the log: ",
                                            log.message()));
  } else if (const auto verdict = CheckPolicy(text, policy); !verdict.ok()) {
    report.Fault(std::nullopt, absl::StrCat("the checkpoint does not satisfy the policy: ",
                                            verdict.status().message()));
  }
  return *checkpoint;
}

std::optional<Checkpoint> CheckHeldCheckpoint(absl::string_view text, const Policy& policy,
                                              absl::string_view origin, AuditReport& report) {
  const absl::StatusOr<SignedNote> note = SignedNote::Parse(text);
  const absl::StatusOr<Checkpoint> checkpoint =
      note.ok() ? privacy::ParseCheckpoint(note->text) : absl::StatusOr<Checkpoint>(note.status());
  std::string ignored;
  absl::Status why = checkpoint.status();
  if (why.ok()) why = LogSignature(*note, *checkpoint, policy, ignored);
  if (why.ok() && checkpoint->origin != origin) why = absl::InvalidArgumentError("another log's");
  if (!why.ok()) {
    report.Fault(std::nullopt, absl::StrCat("the held checkpoint is of no use: ", why.message()));
    return std::nullopt;
  }
  return *checkpoint;
}

bool CompareSameSize(const Checkpoint& held, const Checkpoint& present, AuditReport& report) {
  if (held.size == 0) {
    report.consistency = "the held checkpoint is of the empty log";
    return true;
  }
  if (held.size != present.size) return false;
  if (held.root == present.root) {
    report.consistency = "the held checkpoint is of the same tree";
  } else {
    report.Fault(std::nullopt,
                 absl::StrCat("FORK: two checkpoints of ", held.size, " entries, both signed by the "
                              "log, have different roots. Keep both files: they are evidence"));
  }
  return true;
}

}  // namespace consilium::coordinator
