#include "privacy/transparency/witness.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kStateHeader = "consilium-witness/v1\n";
constexpr absl::string_view kKeyFile = "witness.key";
constexpr absl::string_view kStateFile = "state.txt";
constexpr int kEvidenceFilesMax = 100;
constexpr uint64_t kStateBytesMax = kNoteBytesMax + kVerifierKeyBytesMax + 1024;

absl::Status Damaged(absl::string_view why) {
  return absl::DataLossError(absl::StrCat(
      "the witness's ", kStateFile, " is damaged (", why,
      "); restore it from a backup. If there is none, ask another site for its last checkpoint of "
      "this log and compare before you remove the file: a witness without it takes the next log "
      "that it sees on trust"));
}

std::string EvidenceName(int number) { return absl::StrCat("fork-", number, ".txt"); }

// The note with the log's signature only: what others add is not ours to keep.
std::string OnlySignedBy(SignedNote note, const VerifierKey& log) {
  std::erase_if(note.signatures,
                [&](const NoteSignature& signature) { return !signature.IsBy(log); });
  return note.ToString();
}

}  // namespace

absl::StatusOr<Witness> Witness::Open(const std::string& folder, absl::string_view key_name) {
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  CSL_ASSIGN_OR_RETURN(
      NoteSigner signer,
      NoteSigner::OpenFile(JoinPath(folder, kKeyFile), key_name, kCosignatureEd25519));
  Witness witness(folder, std::move(signer));
  CSL_RETURN_IF_ERROR(witness.Load());
  return witness;
}

// header, "log VKEY", "sha256 HEX" of what follows, the note (empty before the first checkpoint).
absl::Status Witness::Load() {
  const std::string path = JoinPath(folder_, kStateFile);
  if (!PathExists(path)) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kStateBytesMax));
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, kStateHeader)) return Damaged("it has another beginning");
  const size_t log_end = rest.find('\n');
  if (!absl::ConsumePrefix(&rest, "log ") || log_end == absl::string_view::npos) {
    return Damaged("no log key");
  }
  const absl::StatusOr<VerifierKey> log = VerifierKey::Parse(rest.substr(0, log_end - 4));
  if (!log.ok()) return Damaged(log.status().message());
  rest.remove_prefix(log_end - 4 + 1);
  const size_t sum_end = rest.find('\n');
  if (!absl::ConsumePrefix(&rest, "sha256 ") || sum_end == absl::string_view::npos) {
    return Damaged("no checksum");
  }
  const absl::string_view sum = rest.substr(0, sum_end - 7);
  rest.remove_prefix(sum_end - 7 + 1);
  if (Sha256Hex(absl::StrCat(log->ToString(), "\n", rest)) != sum) {
    return Damaged("its checksum does not hold");
  }
  log_ = *log;
  if (rest.empty()) return absl::OkStatus();
  absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(rest, *log);
  if (!checkpoint.ok()) return Damaged(checkpoint.status().message());
  last_ = *std::move(checkpoint);
  last_note_ = std::string(rest);
  return absl::OkStatus();
}

absl::Status Witness::Save(const VerifierKey& log, absl::string_view note) const {
  const std::string vkey = log.ToString();
  const std::string sum = Sha256Hex(absl::StrCat(vkey, "\n", note));
  return WriteFileAtomic(JoinPath(folder_, kStateFile),
                         absl::StrCat(kStateHeader, "log ", vkey, "\nsha256 ", sum, "\n", note),
                         kPrivateFile);
}

absl::Status Witness::Pin(absl::string_view log_vkey) {
  CSL_ASSIGN_OR_RETURN(const VerifierKey key, VerifierKey::Parse(log_vkey));
  if (key.algorithm != kNoteEd25519) {
    return absl::InvalidArgumentError(absl::StrCat("log key: signature type ", key.algorithm,
                                                   " cannot be witnessed by this version"));
  }
  if (!log_.has_value()) {
    CSL_RETURN_IF_ERROR(Save(key, ""));
    log_ = key;
    return absl::OkStatus();
  }
  if (*log_ == key) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the audit log has another key (", key.ToString(), ") than the one pinned here (",
      log_->ToString(), "). If the coordinating centre confirms the change by another way, move the "
      "witness's ", kStateFile, " aside and start the agent again"));
}

std::optional<std::string> Witness::Evidence() const {
  for (int number = 1; number <= kEvidenceFilesMax; ++number) {
    if (PathExists(JoinPath(folder_, EvidenceName(number)))) return EvidenceName(number);
  }
  return std::nullopt;
}

absl::Status Witness::CheckNoEvidence() const {
  const std::optional<std::string> evidence = Evidence();
  if (!evidence.has_value()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the audit log was seen to fork: witness/", *evidence, " holds two checkpoints that cannot "
      "both be true. Nothing is cosigned until it is settled with the coordinating centre and the "
      "file is moved away"));
}

absl::Status Witness::KeepEvidence(absl::string_view note,
                                   absl::Span<const Hash> consistency) const {
  std::string text = absl::StrCat(
      "Two checkpoints of one log, both with its signature, that cannot both be true.\n\n"
      "The one cosigned here before:\n\n", last_note_, "\nThe one offered now:\n\n", note,
      "\nIts proof of consistency with the first (base64 hashes):\n");
  for (const Hash& hash : consistency) {
    absl::StrAppend(&text, Base64Encode(HashBytes(hash)), "\n");
  }
  for (int number = 1; number <= kEvidenceFilesMax; ++number) {
    const std::string path = JoinPath(folder_, EvidenceName(number));
    if (!PathExists(path)) return WriteFileAtomic(path, text, kPrivateFile);
  }
  return absl::OkStatus();  // a hundred tell no more than one
}

absl::StatusOr<std::string> Witness::Consider(absl::string_view note,
                                              absl::Span<const Hash> consistency, absl::Time now) {
  CSL_RETURN_IF_ERROR(CheckNoEvidence());
  if (!log_.has_value()) {
    return absl::FailedPreconditionError("the log's key is not known yet: no checkpoint of it holds");
  }
  CSL_ASSIGN_OR_RETURN(const Checkpoint offered, OpenCheckpoint(note, *log_));
  CSL_ASSIGN_OR_RETURN(SignedNote parsed, SignedNote::Parse(note));
  const std::string kept = OnlySignedBy(parsed, *log_);
  if (offered.size < size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the audit log was rolled back: it has ", offered.size, " entries where ", size(),
        " were cosigned before. The coordinator has to restore the newer state"));
  }
  if (size() == 0) {
    if (!consistency.empty()) {
      return absl::InvalidArgumentError("proof: there is none from an empty tree");
    }
  } else {
    CSL_ASSIGN_OR_RETURN(const size_t length, ConsistencyProofLength(last_->size, offered.size));
    if (consistency.size() != length) {
      return absl::InvalidArgumentError(absl::StrCat("proof: ", consistency.size(),
                                                     " hashes where ", length, " belong"));
    }
    if (!VerifyConsistency(last_->size, offered.size, consistency, last_->root, offered.root)
             .ok()) {
      CSL_RETURN_IF_ERROR(Annotate(KeepEvidence(kept, consistency),
                                   "the audit log forked, and the evidence cannot be written"));
      return absl::DataLossError(absl::StrCat(
          "the audit log forked: its checkpoint of ", offered.size, " entries does not continue "
          "that of ", last_->size, " entries cosigned before. Both are kept as evidence in the "
          "witness's folder; tell the other sites"));
    }
  }
  if (kept != last_note_) {
    CSL_RETURN_IF_ERROR(Save(*log_, kept));
    last_ = offered;
    last_note_ = kept;
  }
  return Cosign(parsed.text, signer_, now).ToLine();
}

}  // namespace consilium::privacy
