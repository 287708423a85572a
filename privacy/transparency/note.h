// Signed notes and the keys that sign them (C2SP signed-note): a text, an empty line, and signature
// lines of an em dash, the key's name and base64 of key id and signature.
//
// The algorithm byte is open: a note or key of an algorithm unknown here parses and is written back
// unchanged, but nothing is ever accepted on its word.
//
// Thread-safety: values are thread-compatible, functions and const methods thread-safe.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_NOTE_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_NOTE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

inline constexpr size_t kNoteBytesMax = size_t{1} << 20;
inline constexpr size_t kNoteSignaturesMax = 100;
inline constexpr size_t kVerifierKeyBytesMax = 8192;

// Signature types that are verified here.
inline constexpr uint8_t kNoteEd25519 = 0x01;         // of the note's text: a log
inline constexpr uint8_t kCosignatureEd25519 = 0x04;  // with a time: a witness (tlog-cosignature)

// OK for the name of a key: not empty, UTF-8, no space, control character or '+'.
// INVALID_ARGUMENT otherwise.
absl::Status CheckKeyName(absl::string_view name);

// A public key, written "name+hex8+base64(algorithm || key)".
struct VerifierKey {
  std::string name;
  uint8_t algorithm = kNoteEd25519;
  std::string key;  // 32 bytes for the known algorithms
  // Of an algorithm unknown here, where it is not ours to say how the id is made.
  uint32_t stated_id = 0;

  bool known() const { return algorithm == kNoteEd25519 || algorithm == kCosignatureEd25519; }
  // First four bytes of SHA-256(name "\n" algorithm key), big-endian.
  uint32_t id() const;
  std::string ToString() const;
  // INVALID_ARGUMENT: not of that form, or (known algorithms) a wrong id or length.
  static absl::StatusOr<VerifierKey> Parse(absl::string_view vkey);
  friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};

struct NoteSignature {
  std::string name;
  uint32_t key_id = 0;
  std::string bytes;  // for type 0x04: the time, 8 bytes big-endian, and the signature

  std::string ToLine() const;  // with the newline
  // With or without the newline. INVALID_ARGUMENT: not a signature line.
  static absl::StatusOr<NoteSignature> ParseLine(absl::string_view line);
  bool IsBy(const VerifierKey& key) const { return name == key.name && key_id == key.id(); }
  friend bool operator==(const NoteSignature&, const NoteSignature&) = default;
};

struct SignedNote {
  std::string text;  // with its final newline
  std::vector<NoteSignature> signatures;

  std::string ToString() const;
  // INVALID_ARGUMENT: not a note with at least one signature, not UTF-8, control characters.
  // RESOURCE_EXHAUSTED: over kNoteBytesMax or kNoteSignaturesMax.
  static absl::StatusOr<SignedNote> Parse(absl::string_view note);
};

// That `key` (type 0x01) signed the note. NOT_FOUND: no signature by it. PERMISSION_DENIED: one by
// its name and id that does not verify. UNIMPLEMENTED: a key of another type.
absl::Status VerifyNote(const SignedNote& note, const VerifierKey& key);

// A private key with a name, for one type of signature. Move-only.
class NoteSigner {
 public:
  // INVALID_ARGUMENT: a bad name; `algorithm` not one of the two known.
  static absl::StatusOr<NoteSigner> Create(absl::string_view name, uint8_t algorithm,
                                           Ed25519Key key);
  static absl::StatusOr<NoteSigner> Generate(absl::string_view name, uint8_t algorithm);
  static absl::StatusOr<NoteSigner> FromSeed(absl::string_view name, uint8_t algorithm,
                                             const SecretBytes& seed);
  // The key in a PKCS#8 PEM file, made (mode 0600) if the file is not there. FAILED_PRECONDITION:
  // the file may be read by others than its owner; INVALID_ARGUMENT: it is not such a key. Both say
  // what to do.
  static absl::StatusOr<NoteSigner> OpenFile(const std::string& path, absl::string_view name,
                                             uint8_t algorithm);

  const VerifierKey& verifier() const { return verifier_; }
  const std::string& name() const { return verifier_.name; }
  // Over the text of a note, which ends with a newline. For type 0x01 only.
  NoteSignature Sign(absl::string_view text) const;
  // Over the message as it is, for types that wrap the text (checkpoint.h).
  std::string SignRaw(absl::string_view message) const { return key_.Sign(message); }

 private:
  NoteSigner(VerifierKey verifier, Ed25519Key key)
      : verifier_(std::move(verifier)), key_(std::move(key)) {}
  VerifierKey verifier_;
  Ed25519Key key_;
};

// Base64 as these formats have it: padded, nothing around it, one spelling only.
absl::StatusOr<std::string> StrictBase64Decode(absl::string_view text);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_NOTE_H_
