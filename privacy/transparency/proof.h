// That an entry is in a log, as one text file (C2SP tlog-proof v1): index, inclusion proof and a
// cosigned checkpoint. It holds without the log and without trust in it.
//
// Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_PROOF_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_PROOF_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"
#include "privacy/transparency/policy.h"

namespace consilium::privacy {

inline constexpr size_t kLogProofBytesMax = kNoteBytesMax + (size_t{128} << 10);

struct LogProof {
  std::string extra;  // opaque bytes, not covered by the proof; ours hold the entry. May be empty
  uint64_t index = 0;
  std::vector<Hash> hashes;  // from the leaf's sibling up
  std::string checkpoint;    // the signed note, verbatim
};

std::string EncodeLogProof(const LogProof& proof);
// INVALID_ARGUMENT: not of that form. RESOURCE_EXHAUSTED: over kLogProofBytesMax, kProofHashesMax or
// the limits of a note.
absl::StatusOr<LogProof> ParseLogProof(absl::string_view text);

// That `entry` is in a log of the policy under a checkpoint that satisfies it. Errors: those of
// CheckPolicy; INVALID_ARGUMENT: the entry is not the one at that index.
absl::StatusOr<PolicyVerdict> VerifyLogProof(const LogProof& proof, absl::string_view entry,
                                             const Policy& policy);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_PROOF_H_
