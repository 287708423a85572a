#include "site_agent/intake/sample_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "privacy/deid/mapped_file.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using privacy::Aead;
using privacy::kAeadTagBytes;
using privacy::kSha256Bytes;

constexpr absl::string_view kPlain = "CSLSMPL1";
constexpr absl::string_view kEncrypted = "CSLSMPE1";
constexpr absl::string_view kKeyPurpose = "consilium sample file 1";
constexpr size_t kLengthsBytes = 8 + 8 + 8;  // the magic before them
constexpr size_t kSaltBytes = 32;

absl::Status Damaged() { return absl::DataLossError("a prepared case is damaged"); }

uint64_t Blocks(uint64_t body_bytes) {
  return body_bytes / kSampleBlockBytes + (body_bytes % kSampleBlockBytes != 0);
}

size_t BlockBytes(uint64_t body_bytes, uint64_t block) {
  return static_cast<size_t>(
      std::min<uint64_t>(kSampleBlockBytes, body_bytes - block * kSampleBlockBytes));
}

std::string Lengths(absl::string_view magic, uint64_t header_bytes, uint64_t body_bytes) {
  std::string text(magic);
  text.resize(kLengthsBytes);
  StoreLe64(header_bytes, text.data() + 8);
  StoreLe64(body_bytes, text.data() + 16);
  return text;
}

std::string Nonce(uint64_t number) {
  std::string nonce(privacy::kAeadNonceBytes, '\0');
  StoreLe64(number, nonce.data());
  return nonce;
}

absl::StatusOr<Aead> CipherOf(const privacy::SecretBytes& key, absl::string_view salt) {
  if (key.size() != kSampleKeyBytes) {
    return absl::InvalidArgumentError("the key of prepared cases has another length");
  }
  CSL_ASSIGN_OR_RETURN(const privacy::SecretBytes derived,
                       privacy::Hkdf(salt, key.view(), kKeyPurpose, kSampleKeyBytes));
  return Aead::Create(privacy::AeadAlgorithm::kAes256Gcm, derived.view());
}

// The pieces as if they were one.
class Pieces {
 public:
  explicit Pieces(absl::Span<const absl::string_view> pieces) : pieces_(pieces) {}
  // The next bytes; as many as `out` has room for must be left.
  void Take(char* out, size_t bytes) {
    while (bytes > 0) {
      const absl::string_view rest = pieces_.front().substr(at_);
      const size_t some = std::min(bytes, rest.size());
      std::memcpy(out, rest.data(), some);
      out += some;
      bytes -= some;
      at_ += some;
      if (at_ < pieces_.front().size()) continue;
      pieces_.remove_prefix(1);
      at_ = 0;
    }
  }

 private:
  absl::Span<const absl::string_view> pieces_;
  size_t at_ = 0;
};

absl::Status WritePlain(File& file, const std::string& lengths, absl::string_view header,
                        absl::Span<const absl::string_view> body, uint64_t body_bytes) {
  std::string front = absl::StrCat(lengths, header);
  std::vector<char> block(static_cast<size_t>(std::min<uint64_t>(body_bytes, kSampleBlockBytes)));
  uint64_t at = front.size() + (Blocks(body_bytes) + 1) * kSha256Bytes;
  Pieces pieces(body);
  for (uint64_t i = 0; i < Blocks(body_bytes); ++i) {
    const absl::string_view bytes(block.data(), BlockBytes(body_bytes, i));
    pieces.Take(block.data(), bytes.size());
    front += privacy::Sha256(bytes);
    CSL_RETURN_IF_ERROR(file.WriteAt(at, bytes));
    at += bytes.size();
  }
  return file.WriteAt(0, absl::StrCat(front, privacy::Sha256(front)));
}

absl::Status WriteEncrypted(File& file, const std::string& lengths, absl::string_view header,
                            absl::Span<const absl::string_view> body, uint64_t body_bytes,
                            const privacy::SecretBytes& key) {
  const std::string salt = privacy::RandomBytes(kSaltBytes);
  CSL_ASSIGN_OR_RETURN(Aead cipher, CipherOf(key, salt));
  const std::string bound = lengths + salt;
  CSL_ASSIGN_OR_RETURN(const std::string sealed, cipher.Seal(Nonce(0), bound, header));
  CSL_RETURN_IF_ERROR(file.WriteAt(0, absl::StrCat(bound, sealed)));
  uint64_t at = bound.size() + sealed.size();
  std::vector<char> block(kSampleBlockBytes + kAeadTagBytes);
  Pieces pieces(body);
  for (uint64_t i = 0; i < Blocks(body_bytes); ++i) {
    const size_t bytes = BlockBytes(body_bytes, i);
    pieces.Take(block.data(), bytes);
    const absl::Span<char> message(block.data(), bytes + kAeadTagBytes);
    CSL_RETURN_IF_ERROR(cipher.SealInPlace(Nonce(i + 1), bound, message));
    CSL_RETURN_IF_ERROR(file.WriteAt(at, absl::string_view(message.data(), message.size())));
    at += message.size();
  }
  return absl::OkStatus();
}

// The pages that `bytes` touches, for the system's calls.
std::pair<char*, size_t> PagesOf(absl::string_view bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto from = reinterpret_cast<uintptr_t>(bytes.data()) & ~(page - 1);
  const auto to = reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size();
  return {reinterpret_cast<char*>(from), static_cast<size_t>(to - from)};
}

// Reads a mapped block in, so that a disk's fault is a status and not a signal when it is touched.
// A kernel before 5.14 does not know the call, and the signal stays possible.
absl::Status ReadIn(absl::string_view mapped) {
  const auto [from, bytes] = PagesOf(mapped);
  if (::madvise(from, bytes, MADV_POPULATE_READ) == 0 || errno == EINVAL) return absl::OkStatus();
  return Damaged();
}

}  // namespace

uint64_t SampleFileBytes(uint64_t header_bytes, uint64_t body_bytes, bool is_encrypted) {
  const uint64_t parts = Blocks(body_bytes) + 1;
  const uint64_t around = is_encrypted ? kSaltBytes + parts * kAeadTagBytes : parts * kSha256Bytes;
  return kLengthsBytes + header_bytes + body_bytes + around;
}

bool IsEncryptedSample(const std::string& path) {
  const absl::StatusOr<File> file = File::Open(path, File::Mode::kRead);
  std::string magic(kEncrypted.size(), '\0');
  return file.ok() && file->ReadAt(0, magic.data(), magic.size()).ok() && magic == kEncrypted;
}

absl::Status WriteSampleFile(const std::string& path, absl::string_view header,
                             absl::Span<const absl::string_view> body,
                             const privacy::SecretBytes* key) {
  if (header.size() > kSampleHeaderBytesMax) {
    return absl::InvalidArgumentError("the header of a prepared case is too long");
  }
  uint64_t body_bytes = 0;
  for (const absl::string_view piece : body) body_bytes += piece.size();
  const std::string lengths =
      Lengths(key == nullptr ? kPlain : kEncrypted, header.size(), body_bytes);
  const std::string next = absl::StrCat(path, ".", HexEncode(privacy::RandomBytes(6)));
  absl::Status written;
  {
    CSL_ASSIGN_OR_RETURN(File file, File::Open(next, File::Mode::kReadWriteCreate, kPrivateFile));
    written = key == nullptr ? WritePlain(file, lengths, header, body, body_bytes)
                             : WriteEncrypted(file, lengths, header, body, body_bytes, *key);
  }
  std::error_code error;
  if (written.ok()) fs::rename(next, path, error);
  if (error) written = absl::UnavailableError("a prepared case cannot be put in its place");
  if (!written.ok()) fs::remove(next, error);
  return written;
}

struct SampleFile::Rep {
  explicit Rep(privacy::MappedFile mapped) : file(std::move(mapped)) {}

  // The next block, verified; valid until the next call.
  absl::Status NextBlock() {
    if (block >= Blocks(body_bytes)) return absl::OutOfRangeError("the prepared case ends before");
    const size_t bytes = BlockBytes(body_bytes, block);
    const size_t stored = bytes + (cipher.has_value() ? kAeadTagBytes : 0);
    const absl::string_view mapped = file.bytes().substr(at, stored);
    CSL_RETURN_IF_ERROR(ReadIn(mapped));
    if (cipher.has_value()) {
      scratch.assign(mapped.begin(), mapped.end());
      const absl::Span<char> message(scratch.data(), scratch.size());
      if (!cipher->OpenInPlace(Nonce(block + 1), bound, message).ok()) return Damaged();
      current = absl::string_view(scratch.data(), bytes);
    } else {
      if (privacy::Sha256(mapped) != bound.substr(block * kSha256Bytes, kSha256Bytes)) {
        return Damaged();
      }
      current = mapped;
    }
    ++block;
    at += stored;
    return absl::OkStatus();
  }

  absl::Status ReadPlainFront();
  absl::Status ReadEncryptedFront(const privacy::SecretBytes& key);

  privacy::MappedFile file;
  std::string header;
  uint64_t header_bytes = 0, body_bytes = 0;
  std::string bound;           // plain: the blocks' digests; encrypted: what each block is bound to
  std::optional<Aead> cipher;  // none: plain
  uint64_t block = 0;          // the next one
  size_t at = 0;               // where it lies
  absl::string_view current;   // what is left of the block in work
  std::vector<char> scratch;
};

absl::Status SampleFile::Rep::ReadPlainFront() {
  const absl::string_view bytes = file.bytes();
  const size_t digests = Blocks(body_bytes) * kSha256Bytes;
  const size_t front = kLengthsBytes + header_bytes + digests;
  CSL_RETURN_IF_ERROR(ReadIn(bytes.substr(0, front + kSha256Bytes)));
  if (privacy::Sha256(bytes.substr(0, front)) != bytes.substr(front, kSha256Bytes)) {
    return Damaged();
  }
  header = std::string(bytes.substr(kLengthsBytes, header_bytes));
  bound = std::string(bytes.substr(kLengthsBytes + header_bytes, digests));
  at = front + kSha256Bytes;
  return absl::OkStatus();
}

absl::Status SampleFile::Rep::ReadEncryptedFront(const privacy::SecretBytes& key) {
  const absl::string_view bytes = file.bytes();
  const size_t sealed = header_bytes + kAeadTagBytes;
  CSL_RETURN_IF_ERROR(ReadIn(bytes.substr(0, kLengthsBytes + kSaltBytes + sealed)));
  bound = std::string(bytes.substr(0, kLengthsBytes + kSaltBytes));
  CSL_ASSIGN_OR_RETURN(cipher, CipherOf(key, absl::string_view(bound).substr(kLengthsBytes)));
  absl::StatusOr<std::string> opened =
      cipher->Open(Nonce(0), bound, bytes.substr(bound.size(), sealed));
  if (!opened.ok()) return Damaged();
  header = *std::move(opened);
  at = bound.size() + sealed;
  return absl::OkStatus();
}

absl::StatusOr<SampleFile> SampleFile::Open(const std::string& path,
                                            const privacy::SecretBytes* key) {
  absl::StatusOr<privacy::MappedFile> mapped = privacy::MappedFile::Open(path);
  if (absl::IsNotFound(mapped.status())) return mapped.status();
  if (!mapped.ok()) return Damaged();
  auto rep = std::make_unique<Rep>(*std::move(mapped));
  const absl::string_view bytes = rep->file.bytes();
  if (bytes.size() < kLengthsBytes) return Damaged();
  CSL_RETURN_IF_ERROR(ReadIn(bytes.substr(0, kLengthsBytes)));
  if (!absl::StartsWith(bytes, key == nullptr ? kPlain : kEncrypted)) return Damaged();
  rep->header_bytes = LoadLe64(bytes.data() + 8);
  rep->body_bytes = LoadLe64(bytes.data() + 16);
  const bool is_sound =
      rep->header_bytes <= kSampleHeaderBytesMax && rep->body_bytes <= bytes.size() &&
      SampleFileBytes(rep->header_bytes, rep->body_bytes, key != nullptr) == bytes.size();
  if (!is_sound) return Damaged();
  CSL_RETURN_IF_ERROR(key == nullptr ? rep->ReadPlainFront() : rep->ReadEncryptedFront(*key));
  return SampleFile(std::move(rep));
}

SampleFile::SampleFile(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
SampleFile::SampleFile(SampleFile&&) noexcept = default;
SampleFile::~SampleFile() = default;

const std::string& SampleFile::header() const { return rep_->header; }
uint64_t SampleFile::body_bytes() const { return rep_->body_bytes; }

absl::Status SampleFile::Read(absl::Span<char> out) {
  while (!out.empty()) {
    if (rep_->current.empty()) CSL_RETURN_IF_ERROR(rep_->NextBlock());
    const size_t some = std::min(out.size(), rep_->current.size());
    std::memcpy(out.data(), rep_->current.data(), some);
    rep_->current.remove_prefix(some);
    out.remove_prefix(some);
  }
  return absl::OkStatus();
}

}  // namespace consilium::agent
