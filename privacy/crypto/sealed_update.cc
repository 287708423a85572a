#include "privacy/crypto/sealed_update.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint64_t kSealedPiece = kSealedPieceBytes + kHpkeTagBytes;

uint64_t Pieces(uint64_t plaintext_bytes) {
  return std::max<uint64_t>(1, (plaintext_bytes + kSealedPieceBytes - 1) / kSealedPieceBytes);
}

// Every field is preceded by its length, so that no two contexts give the same text.
std::string Info(const SealContext& context) {
  std::string info = "consilium/v1 update";
  for (const std::string& field : {context.federation, context.study,
                                   absl::StrCat(context.round), context.site, context.task_id}) {
    absl::StrAppend(&info, BigEndian64(field.size()), field);
  }
  return info;
}

std::string Aad(uint64_t piece, uint64_t pieces) {
  return BigEndian64(piece) + (piece + 1 == pieces ? '\1' : '\0');
}

uint64_t PieceBytes(uint64_t piece, uint64_t plaintext_bytes) {
  return std::min<uint64_t>(kSealedPieceBytes, plaintext_bytes - piece * kSealedPieceBytes);
}

// Writes the sealed file and says its SHA-256.
absl::StatusOr<std::string> SealPieces(const PlaintextSource& source, uint64_t bytes,
                                       HpkeSender& sender, File& out) {
  Sha256Stream hash;
  CSL_RETURN_IF_ERROR(out.WriteAt(0, sender.enc()));
  hash.Update(sender.enc());
  const uint64_t pieces = Pieces(bytes);
  std::string sealed;
  for (uint64_t piece = 0; piece < pieces; ++piece) {
    const uint64_t size = PieceBytes(piece, bytes);
    sealed.resize(size + kHpkeTagBytes);
    CSL_RETURN_IF_ERROR(source(piece * kSealedPieceBytes, sealed.data(), size));
    CSL_RETURN_IF_ERROR(sender.SealInPlace(Aad(piece, pieces), absl::MakeSpan(sealed)));
    CSL_RETURN_IF_ERROR(out.WriteAt(kHpkeKeyBytes + piece * kSealedPiece, sealed));
    hash.Update(sealed);
  }
  return HexEncode(hash.Finish());
}

}  // namespace

uint64_t SealedBytes(uint64_t plaintext_bytes) {
  return kHpkeKeyBytes + plaintext_bytes + Pieces(plaintext_bytes) * kHpkeTagBytes;
}

absl::StatusOr<std::string> SealBytes(const PlaintextSource& source, uint64_t bytes,
                                      const std::string& target,
                                      absl::string_view recipient_public_key,
                                      const SealContext& context) {
  CSL_ASSIGN_OR_RETURN(HpkeSender sender, HpkeSender::Create(recipient_public_key, Info(context)));
  const std::string temporary = target + ".sealing";
  std::string digest;
  {
    CSL_ASSIGN_OR_RETURN(File out, File::Open(temporary, File::Mode::kReadWriteCreate));
    CSL_RETURN_IF_ERROR(out.Truncate(0));  // of an attempt that a crash left behind
    CSL_ASSIGN_OR_RETURN(digest, SealPieces(source, bytes, sender, out));
  }
  if (std::rename(temporary.c_str(), target.c_str()) != 0) {
    return absl::UnavailableError("the sealed file cannot be put in its place");
  }
  return digest;
}

absl::Status SealFile(const std::string& source, const std::string& target,
                      absl::string_view recipient_public_key, const SealContext& context) {
  CSL_ASSIGN_OR_RETURN(const File in, File::Open(source, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, in.Bytes());
  return SealBytes([&](uint64_t offset, char* out,
                       size_t size) { return in.ReadAt(offset, out, size); },
                   bytes, target, recipient_public_key, context)
      .status();
}

absl::StatusOr<SealedReader> SealedReader::Open(const std::string& path, const HpkeKeyPair& key,
                                                const SealContext& context) {
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  if (bytes < SealedBytes(0)) return absl::InvalidArgumentError("sealed update: too short");
  const uint64_t body = bytes - kHpkeKeyBytes;
  const uint64_t pieces = (body + kSealedPiece - 1) / kSealedPiece;
  // The last piece holds its tag and, unless it is the only one, at least a byte of plaintext.
  const uint64_t last = body - (pieces - 1) * kSealedPiece;
  if (last < kHpkeTagBytes || (pieces > 1 && last == kHpkeTagBytes)) {
    return absl::InvalidArgumentError("sealed update: no plaintext has this length");
  }
  std::string enc(kHpkeKeyBytes, '\0');
  CSL_RETURN_IF_ERROR(file.ReadAt(0, enc.data(), enc.size()));
  CSL_ASSIGN_OR_RETURN(HpkeRecipient recipient, HpkeRecipient::Create(key, enc, Info(context)));
  return SealedReader(std::move(file), std::move(recipient), body - pieces * kHpkeTagBytes, pieces);
}

absl::Status SealedReader::Read(uint64_t piece, std::string& buffer) const {
  if (piece >= pieces_) return absl::OutOfRangeError("sealed update: no such piece");
  const uint64_t bytes = PieceBytes(piece, plaintext_bytes_);
  buffer.resize(bytes + kHpkeTagBytes);
  CSL_RETURN_IF_ERROR(
      file_.ReadAt(kHpkeKeyBytes + piece * kSealedPiece, buffer.data(), buffer.size()));
  CSL_RETURN_IF_ERROR(
      recipient_.OpenNumber(piece, Aad(piece, pieces_), absl::MakeSpan(buffer)));
  buffer.resize(bytes);
  return absl::OkStatus();
}

}  // namespace consilium::privacy
