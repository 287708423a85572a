// An update as it leaves the site: a safetensors file, sealed chunk by chunk to the aggregation key.
//
// Format: enc (32 bytes), then for each 1 MiB of plaintext (the last piece may be shorter, an empty
// file has one empty piece) its HPKE ciphertext, 16 bytes longer. Message number = piece number;
// aad = big-endian u64 piece number, then one byte: 1 for the last piece, otherwise 0. So a cut,
// reordered, extended or replayed file does not open. `info` binds study, round, site and task.
#ifndef CONSILIUM_PRIVACY_CRYPTO_SEALED_UPDATE_H_
#define CONSILIUM_PRIVACY_CRYPTO_SEALED_UPDATE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "proto/base/file.h"
#include "privacy/crypto/hpke.h"

namespace consilium::privacy {

inline constexpr size_t kSealedPieceBytes = 1024 * 1024;  // of plaintext

// What an update belongs to. Every field is part of the HPKE info.
struct SealContext {
  std::string federation;
  std::string study;
  int64_t round = 0;
  std::string site;
  std::string task_id;
};

uint64_t SealedBytes(uint64_t plaintext_bytes);

// Seals the file at `source` into a new file at `target`, one piece in memory. The file is there whole
// or not at all, but not synced: SyncPath does that.
absl::Status SealFile(const std::string& source, const std::string& target,
                      absl::string_view recipient_public_key, const SealContext& context);

// The same of `bytes` that need not lie in a file; `source` gives exactly `size` of them at `offset`,
// in order. Returns the sealed file's SHA-256 in lower-case hex.
using PlaintextSource = std::function<absl::Status(uint64_t offset, char* out, size_t size)>;
absl::StatusOr<std::string> SealBytes(const PlaintextSource& source, uint64_t bytes,
                                      const std::string& target,
                                      absl::string_view recipient_public_key,
                                      const SealContext& context);

// Opens a sealed file, any piece in any order. Thread-safe. The file must not change.
class SealedReader {
 public:
  // INVALID_ARGUMENT: too short, or a length that no plaintext has.
  static absl::StatusOr<SealedReader> Open(const std::string& path, const HpkeKeyPair& key,
                                           const SealContext& context);
  uint64_t plaintext_bytes() const { return plaintext_bytes_; }
  uint64_t pieces() const { return pieces_; }
  // Plaintext from byte `piece` * kSealedPieceBytes on, in `buffer`, whose memory is used again.
  // PERMISSION_DENIED: not what was sealed for this context, or altered.
  absl::Status Read(uint64_t piece, std::string& buffer) const;

 private:
  SealedReader(File file, HpkeRecipient recipient, uint64_t plaintext_bytes, uint64_t pieces)
      : file_(std::move(file)),
        recipient_(std::move(recipient)),
        plaintext_bytes_(plaintext_bytes),
        pieces_(pieces) {}
  File file_;
  HpkeRecipient recipient_;
  uint64_t plaintext_bytes_ = 0;
  uint64_t pieces_ = 0;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_SEALED_UPDATE_H_
