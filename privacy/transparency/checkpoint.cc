#include "privacy/transparency/checkpoint.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "privacy/transparency/utf8.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr size_t kTimeBytes = 8;
constexpr size_t kDecimalDigitsMax = 20;

absl::Status BadCheckpoint(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("checkpoint: ", why));
}

// C2SP tlog-cosignature, "Ed25519 signed message".
std::string CosignedMessage(absl::string_view text, uint64_t unix_seconds) {
  return absl::StrCat("cosignature/v1\ntime ", unix_seconds, "\n", text);
}

absl::Status WrongType(const VerifierKey& witness) {
  return absl::UnimplementedError(absl::StrCat("key ", witness.name, " is of signature type ",
                                               witness.algorithm, ", which cannot cosign here"));
}

uint64_t LoadBe64(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kTimeBytes; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

}  // namespace

absl::StatusOr<uint64_t> ParseDecimal(absl::string_view what, absl::string_view text) {
  uint64_t value = 0;
  const bool digits = !text.empty() && text.size() <= kDecimalDigitsMax &&
                      std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (!digits || (text.size() > 1 && text[0] == '0') || !absl::SimpleAtoi(text, &value)) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": not a decimal number"));
  }
  return value;
}

std::string EncodeCheckpoint(const Checkpoint& checkpoint) {
  return absl::StrCat(checkpoint.origin, "\n", checkpoint.size, "\n",
                      Base64Encode(HashBytes(checkpoint.root)), "\n");
}

absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view text) {
  if (!absl::ConsumeSuffix(&text, "\n")) return BadCheckpoint("the last line has no end");
  const std::vector<absl::string_view> lines = absl::StrSplit(text, absl::MaxSplits('\n', 3));
  if (lines.size() < 3) return BadCheckpoint("fewer than three lines");
  if (lines.size() > 3) return BadCheckpoint("extension lines, which are not accepted");
  Checkpoint checkpoint{.origin = std::string(lines[0])};
  if (checkpoint.origin.empty() || !IsUtf8(checkpoint.origin)) return BadCheckpoint("no origin");
  CSL_ASSIGN_OR_RETURN(checkpoint.size, ParseDecimal("checkpoint: size", lines[1]));
  if (checkpoint.size > std::numeric_limits<int64_t>::max()) return BadCheckpoint("size too large");
  const absl::StatusOr<std::string> root = StrictBase64Decode(lines[2]);
  if (!root.ok() || root->size() != kHashBytes) {
    return BadCheckpoint("the root is not 32 bytes in base64");
  }
  CSL_ASSIGN_OR_RETURN(checkpoint.root, HashFromBytes(*root));
  if (checkpoint.size == 0 && checkpoint.root != EmptyRoot()) {
    return BadCheckpoint("size 0 with the root of another tree");
  }
  return checkpoint;
}

std::string SignCheckpoint(const Checkpoint& checkpoint, const NoteSigner& signer) {
  CSL_CHECK(signer.name() == checkpoint.origin);
  SignedNote note{.text = EncodeCheckpoint(checkpoint), .signatures = {}};
  note.signatures.push_back(signer.Sign(note.text));
  return note.ToString();
}

absl::StatusOr<Checkpoint> OpenCheckpoint(absl::string_view note, const VerifierKey& log) {
  CSL_ASSIGN_OR_RETURN(const SignedNote parsed, SignedNote::Parse(note));
  CSL_RETURN_IF_ERROR(VerifyNote(parsed, log));
  CSL_ASSIGN_OR_RETURN(Checkpoint checkpoint, ParseCheckpoint(parsed.text));
  if (checkpoint.origin != log.name) {
    return BadCheckpoint(absl::StrCat("of another log than ", log.name));
  }
  return checkpoint;
}

NoteSignature Cosign(absl::string_view text, const NoteSigner& signer, absl::Time time) {
  CSL_CHECK(signer.verifier().algorithm == kCosignatureEd25519);
  const auto seconds = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixSeconds(time)));
  return NoteSignature{
      .name = signer.name(),
      .key_id = signer.verifier().id(),
      .bytes = absl::StrCat(BigEndian64(seconds), signer.SignRaw(CosignedMessage(text, seconds)))};
}

absl::StatusOr<absl::Time> VerifyCosignature(absl::string_view text, const NoteSignature& signature,
                                             const VerifierKey& witness) {
  if (witness.algorithm != kCosignatureEd25519) return WrongType(witness);
  if (!signature.IsBy(witness)) {
    return absl::InvalidArgumentError(absl::StrCat("cosignature: not by ", witness.name));
  }
  if (signature.bytes.size() != kTimeBytes + kEd25519SignatureBytes) {
    return absl::InvalidArgumentError("cosignature: wrong length");
  }
  const uint64_t seconds = LoadBe64(signature.bytes);
  if (seconds > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError("cosignature: its time is out of range");
  }
  if (!Ed25519Verify(witness.key, CosignedMessage(text, seconds),
                     absl::string_view(signature.bytes).substr(kTimeBytes))
           .ok()) {
    return absl::PermissionDeniedError(
        absl::StrCat("cosignature: that of ", witness.name, " does not verify"));
  }
  return absl::FromUnixSeconds(static_cast<int64_t>(seconds));
}

absl::StatusOr<absl::Time> FindCosignature(const SignedNote& note, const VerifierKey& witness) {
  if (witness.algorithm != kCosignatureEd25519) return WrongType(witness);
  std::optional<absl::Time> newest;
  for (const NoteSignature& signature : note.signatures) {
    if (!signature.IsBy(witness)) continue;
    CSL_ASSIGN_OR_RETURN(const absl::Time time,
                         VerifyCosignature(note.text, signature, witness));
    if (!newest.has_value() || *newest < time) newest = time;
  }
  if (!newest.has_value()) {
    return absl::NotFoundError(absl::StrCat("cosignature: none by ", witness.name));
  }
  return *newest;
}

}  // namespace consilium::privacy
