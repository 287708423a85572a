// Checkpoints of a log and their cosignatures (C2SP tlog-checkpoint, tlog-cosignature v1): a signed
// note whose text is the log's origin, its size and its root. We write and accept no extension
// lines: no monitor could audit them.
//
// Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_CHECKPOINT_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_CHECKPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"

namespace consilium::privacy {

struct Checkpoint {
  std::string origin;  // the log's name, equal to that of its key
  uint64_t size = 0;   // entries
  Hash root = {};
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

// The note's text: three lines.
std::string EncodeCheckpoint(const Checkpoint& checkpoint);
// INVALID_ARGUMENT: not exactly those three lines; size 0 with a root that is not the empty tree's.
absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view text);

// The whole note with the log's signature. `signer` is of type 0x01 and named as the origin.
std::string SignCheckpoint(const Checkpoint& checkpoint, const NoteSigner& signer);

// The checkpoint in a note that `log` signed. INVALID_ARGUMENT: no checkpoint, or of an origin other
// than the key's name; otherwise the errors of SignedNote::Parse and VerifyNote.
absl::StatusOr<Checkpoint> OpenCheckpoint(absl::string_view note, const VerifierKey& log);

// A witness's signature over the text of a checkpoint's note at `time` (whole seconds since 1970).
// `signer` is of type 0x04. ToLine() makes it the line to append to the note.
NoteSignature Cosign(absl::string_view text, const NoteSigner& signer, absl::Time time);

// The time of the cosignature. INVALID_ARGUMENT: not by this name and id, or of a wrong length.
// PERMISSION_DENIED: it does not verify. UNIMPLEMENTED: a key of another type than 0x04.
absl::StatusOr<absl::Time> VerifyCosignature(absl::string_view text, const NoteSignature& signature,
                                             const VerifierKey& witness);

// The newest cosignature by `witness` in the note. NOT_FOUND: none. As above: one by its name and id
// that does not verify spoils the note.
absl::StatusOr<absl::Time> FindCosignature(const SignedNote& note, const VerifierKey& witness);

// The decimal of these formats: no sign, no leading zero. INVALID_ARGUMENT otherwise; `what` starts
// the message.
absl::StatusOr<uint64_t> ParseDecimal(absl::string_view what, absl::string_view text);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_CHECKPOINT_H_
