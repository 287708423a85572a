// A witness of somebody else's log: it cosigns a checkpoint only after it saw that the log continues
// the one that it cosigned last, and remembers that first. So a log that shows different histories to
// different sites cannot get both of them cosigned (C2SP tlog-witness, without its HTTP).
//
// What it keeps in its folder:
//   witness.key    its private key, 0600, made on first use
//   state.txt      the log's key, pinned at first sight, and the last checkpoint
//   fork-<n>.txt   evidence: two checkpoints, both signed by the log, that cannot both be true. While
//                  such a file is there, nothing is cosigned any more
//
// Order: Open, Pin, then Consider for each newer checkpoint. Thread-safety: thread-compatible. One
// process at a time may use a folder.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_WITNESS_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_WITNESS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"

namespace consilium::privacy {

class Witness {
 public:
  // Makes folder and key where they are missing. DATA_LOSS: the state is damaged; it says what to
  // do. Otherwise the errors of NoteSigner::OpenFile and of files.
  static absl::StatusOr<Witness> Open(const std::string& folder, absl::string_view key_name);

  const VerifierKey& verifier() const { return signer_.verifier(); }
  // Entries under the last checkpoint that was cosigned; 0: none.
  uint64_t size() const { return last_.has_value() ? last_->size : 0; }
  // That checkpoint's note, with the log's signature only; empty: none.
  const std::string& last_note() const { return last_note_; }

  // Takes the log's key for good, before anything is cosigned. FAILED_PRECONDITION: another key is
  // pinned. INVALID_ARGUMENT: not a log's key.
  absl::Status Pin(absl::string_view log_vkey);

  // The cosignature line for the note, after the note was made the last one on disk. `consistency`
  // is the proof from size() on; empty where that is 0 or the size is the same.
  // DATA_LOSS: a fork (the same size with another root, or no continuation of the last checkpoint);
  //   both notes are then in fork-<n>.txt.
  // FAILED_PRECONDITION: a smaller log than before (both sizes are named), no key pinned, or evidence
  //   of an earlier fork is still there.
  // INVALID_ARGUMENT: not a checkpoint of this log, or a proof of the wrong length.
  // NOT_FOUND, PERMISSION_DENIED: the log did not sign it. Nothing changes on any error but a fork.
  absl::StatusOr<std::string> Consider(absl::string_view note, absl::Span<const Hash> consistency,
                                       absl::Time now);

  // The name of a file with evidence, if there is one; whoever takes part should stop. It is looked
  // for each time, so that an operator who removed it need not restart anything.
  std::optional<std::string> Evidence() const;

 private:
  Witness(std::string folder, NoteSigner signer)
      : folder_(std::move(folder)), signer_(std::move(signer)) {}
  absl::Status Load();
  absl::Status Save(const VerifierKey& log, absl::string_view note) const;
  absl::Status CheckNoEvidence() const;
  absl::Status KeepEvidence(absl::string_view note, absl::Span<const Hash> consistency) const;

  std::string folder_;
  NoteSigner signer_;
  std::optional<VerifierKey> log_;
  std::optional<Checkpoint> last_;
  std::string last_note_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_WITNESS_H_
