#include "privacy/transparency/note.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "privacy/crypto/sha256.h"
#include "privacy/transparency/utf8.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kLineStart = "\xe2\x80\x94 ";  // em dash, space
constexpr size_t kKeyIdBytes = 4;
constexpr size_t kKeyNameBytesMax = 1024;
constexpr absl::string_view kHexDigits = "0123456789abcdef";

uint32_t LoadBe32(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < kKeyIdBytes; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

std::string Be32(uint32_t value) { return BigEndian64(value).substr(4); }

absl::Status BadKey(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("verifier key: ", why));
}

absl::Status BadNote(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("signed note: ", why));
}

}  // namespace

absl::StatusOr<std::string> StrictBase64Decode(absl::string_view text) {
  CSL_ASSIGN_OR_RETURN(std::string bytes, Base64Decode(text));
  if (Base64Encode(bytes) != text) return absl::InvalidArgumentError("not canonical base64");
  return bytes;
}

absl::Status CheckKeyName(absl::string_view name) {
  if (name.empty() || name.size() > kKeyNameBytesMax || !IsUtf8(name) ||
      HasSpaceOrControl(name) || absl::StrContains(name, '+')) {
    return absl::InvalidArgumentError(
        "key name: empty, too long, or with a space, a control character or '+'");
  }
  return absl::OkStatus();
}

uint32_t VerifierKey::id() const {
  if (!known()) return stated_id;
  const char algorithm_byte = static_cast<char>(algorithm);
  return LoadBe32(Sha256(absl::StrCat(name, "\n", absl::string_view(&algorithm_byte, 1), key)));
}

std::string VerifierKey::ToString() const {
  const char algorithm_byte = static_cast<char>(algorithm);
  return absl::StrCat(name, "+", HexEncode(Be32(id())), "+",
                      Base64Encode(absl::StrCat(absl::string_view(&algorithm_byte, 1), key)));
}

absl::StatusOr<VerifierKey> VerifierKey::Parse(absl::string_view vkey) {
  if (vkey.size() > kVerifierKeyBytesMax) return BadKey("too long");
  // Base64 may hold a '+', so the parts are counted from the left.
  const std::vector<absl::string_view> parts = absl::StrSplit(vkey, absl::MaxSplits('+', 2));
  if (parts.size() != 3) return BadKey("not name+id+base64");
  VerifierKey key{.name = std::string(parts[0]), .key = ""};
  CSL_RETURN_IF_ERROR(CheckKeyName(key.name));
  if (parts[1].size() != 8 || parts[1].find_first_not_of(kHexDigits) != absl::string_view::npos) {
    return BadKey("the id is not 8 hexadecimal digits");
  }
  CSL_ASSIGN_OR_RETURN(const std::string id_bytes, HexDecode(parts[1]));
  const absl::StatusOr<std::string> material = StrictBase64Decode(parts[2]);
  if (!material.ok() || material->size() < 2) return BadKey("the key is not base64");
  key.algorithm = static_cast<uint8_t>(material->front());
  key.key = material->substr(1);
  if (!key.known()) {
    key.stated_id = LoadBe32(id_bytes);
    return key;
  }
  if (key.key.size() != kEd25519PublicKeyBytes) return BadKey("not an Ed25519 key");
  if (key.id() != LoadBe32(id_bytes)) return BadKey("the id is not the key's; is it cut or mixed up?");
  return key;
}

std::string NoteSignature::ToLine() const {
  return absl::StrCat(kLineStart, name, " ", Base64Encode(absl::StrCat(Be32(key_id), bytes)), "\n");
}

absl::StatusOr<NoteSignature> NoteSignature::ParseLine(absl::string_view line) {
  absl::ConsumeSuffix(&line, "\n");
  if (!absl::ConsumePrefix(&line, kLineStart)) return BadNote("not a signature line");
  const size_t space = line.find(' ');
  if (space == absl::string_view::npos) return BadNote("a signature line without signature");
  NoteSignature signature;
  signature.name = std::string(line.substr(0, space));
  CSL_RETURN_IF_ERROR(CheckKeyName(signature.name));
  const absl::StatusOr<std::string> blob = StrictBase64Decode(line.substr(space + 1));
  if (!blob.ok() || blob->size() <= kKeyIdBytes) return BadNote("a signature is not base64");
  signature.key_id = LoadBe32(*blob);
  signature.bytes = blob->substr(kKeyIdBytes);
  return signature;
}

std::string SignedNote::ToString() const {
  std::string note = absl::StrCat(text, "\n");
  for (const NoteSignature& signature : signatures) note.append(signature.ToLine());
  return note;
}

absl::StatusOr<SignedNote> SignedNote::Parse(absl::string_view note) {
  if (note.size() > kNoteBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("signed note: ", note.size(), " bytes; at most ", kNoteBytesMax));
  }
  if (!IsUtf8(note)) return BadNote("not UTF-8");
  for (const char c : note) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n') return BadNote("control characters");
  }
  const size_t blank = note.rfind("\n\n");
  if (blank == absl::string_view::npos) return BadNote("no empty line before signatures");
  SignedNote parsed;
  parsed.text = std::string(note.substr(0, blank + 1));
  absl::string_view rest = note.substr(blank + 2);
  if (rest.empty()) return BadNote("no signature");
  if (!absl::ConsumeSuffix(&rest, "\n")) return BadNote("the last line has no end");
  for (const absl::string_view line : absl::StrSplit(rest, '\n')) {
    if (parsed.signatures.size() == kNoteSignaturesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("signed note: more than ", kNoteSignaturesMax, " signatures"));
    }
    CSL_ASSIGN_OR_RETURN(NoteSignature signature, NoteSignature::ParseLine(line));
    parsed.signatures.push_back(std::move(signature));
  }
  return parsed;
}

absl::Status VerifyNote(const SignedNote& note, const VerifierKey& key) {
  if (key.algorithm != kNoteEd25519) {
    return absl::UnimplementedError(absl::StrCat("key ", key.name, " is of signature type ",
                                                 key.algorithm, ", which cannot sign a note here"));
  }
  bool found = false;
  for (const NoteSignature& signature : note.signatures) {
    if (!signature.IsBy(key)) continue;
    found = true;
    if (!Ed25519Verify(key.key, note.text, signature.bytes).ok()) {
      return absl::PermissionDeniedError(
          absl::StrCat("signed note: the signature of ", key.name, " does not verify"));
    }
  }
  if (!found) {
    return absl::NotFoundError(absl::StrCat("signed note: no signature by ", key.name));
  }
  return absl::OkStatus();
}

absl::StatusOr<NoteSigner> NoteSigner::Create(absl::string_view name, uint8_t algorithm,
                                              Ed25519Key key) {
  CSL_RETURN_IF_ERROR(CheckKeyName(name));
  VerifierKey verifier{
      .name = std::string(name), .algorithm = algorithm, .key = key.public_key()};
  if (!verifier.known()) {
    return absl::InvalidArgumentError(absl::StrCat("signature type ", algorithm, " is unknown"));
  }
  return NoteSigner(std::move(verifier), std::move(key));
}

absl::StatusOr<NoteSigner> NoteSigner::Generate(absl::string_view name, uint8_t algorithm) {
  return Create(name, algorithm, Ed25519Key::Generate());
}

absl::StatusOr<NoteSigner> NoteSigner::FromSeed(absl::string_view name, uint8_t algorithm,
                                                const SecretBytes& seed) {
  CSL_ASSIGN_OR_RETURN(Ed25519Key key, Ed25519Key::FromSeed(seed));
  return Create(name, algorithm, std::move(key));
}

NoteSignature NoteSigner::Sign(absl::string_view text) const {
  CSL_CHECK(verifier_.algorithm == kNoteEd25519);
  return NoteSignature{
      .name = verifier_.name, .key_id = verifier_.id(), .bytes = key_.Sign(text)};
}

}  // namespace consilium::privacy
