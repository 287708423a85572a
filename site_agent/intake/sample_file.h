// A file with a short header and a long body, kept in blocks that are verified as they are read:
// what a prepared case is stored as (sample_cache.h), and nothing that knows what a case is.
//
// Plain:      "CSLSMPL1", header bytes (u64), body bytes (u64), header, SHA-256 of each block of
// the
//             body, SHA-256 of all that, body.
// Encrypted:  "CSLSMPE1", header bytes, body bytes, salt (32), header, blocks; header and blocks
// each
//             sealed with AES-256-GCM (16 bytes longer). The key is HKDF-SHA256 of the caller's and
//             the salt, which is new for each file; the nonce is the number of the block, the
//             header's 0; what stands before the header is bound to every one of them. So blocks
//             that are cut, exchanged or taken from another file do not open.
// Numbers are little endian, blocks kSampleBlockBytes long, the last one shorter.
//
// Reading maps the file, and copies each block once, to where the caller wants it, right after its
// digest was taken (plain) or while it is opened through one block of scratch memory (encrypted).
// Beside the caller's memory it needs one block, whatever the file, and mapped pages that the system may
// take back at any time.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_SAMPLE_FILE_H_
#define CONSILIUM_SITE_AGENT_INTAKE_SAMPLE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::agent {

inline constexpr size_t kSampleBlockBytes = size_t{1} << 20;
inline constexpr size_t kSampleHeaderBytesMax = 64 * 1024;
inline constexpr size_t kSampleKeyBytes = 32;

// Replaces `path` (0600) by header and body, the body in pieces one after the other; `key` null:
// plain. A crash leaves the old file or the new one; after a power cut it may be damaged, which
// reading finds. INVALID_ARGUMENT: the header is too long, or a key of another length. Errors of
// the disk.
absl::Status WriteSampleFile(const std::string& path, absl::string_view header,
                             absl::Span<const absl::string_view> body,
                             const privacy::SecretBytes* key);

// How long such a file is.
uint64_t SampleFileBytes(uint64_t header_bytes, uint64_t body_bytes, bool is_encrypted);

// Whether the file at `path` is an encrypted one, by its first bytes.
bool IsEncryptedSample(const std::string& path);

// Thread-compatible.
class SampleFile {
 public:
  // Checks the header; `key` null: a plain file is expected. `key` must outlive the call only.
  // NOT_FOUND: no such file. DATA_LOSS: damaged, of the other form, or sealed with another key.
  static absl::StatusOr<SampleFile> Open(const std::string& path, const privacy::SecretBytes* key);
  SampleFile(SampleFile&&) noexcept;
  SampleFile& operator=(SampleFile&&) = delete;
  ~SampleFile();

  const std::string& header() const;
  uint64_t body_bytes() const;
  // The next bytes of the body. OUT_OF_RANGE: it ends before. DATA_LOSS: a block is damaged or the
  // disk cannot be read; `out` then means nothing.
  absl::Status Read(absl::Span<char> out);

 private:
  struct Rep;
  explicit SampleFile(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_SAMPLE_FILE_H_
