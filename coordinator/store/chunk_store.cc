#include "coordinator/store/chunk_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/chunk_files.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSeenMax = 1 << 16;  // 256 GiB of chunks; beyond that they are checked anew
constexpr size_t kDigestPrefix = 12;

absl::Status Damaged(absl::string_view chunk, absl::string_view model, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "chunk ", chunk.substr(0, kDigestPrefix), " of model ", model.substr(0, kDigestPrefix), " ",
      what, "; run `consilium doctor`, and restore it from a backup"));
}

struct OpenChunk {
  int fd = -1;
  uint64_t inode = 0;
  uint64_t bytes = 0;
  int64_t changed_ns = 0;
};

absl::StatusOr<OpenChunk> OpenForReading(const std::string& path) {
  OpenChunk chunk;
  chunk.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (chunk.fd < 0) return ChunkFileError("open", path);
  struct stat info;
  if (::fstat(chunk.fd, &info) != 0) {
    const absl::Status status = ChunkFileError("stat", path);
    ::close(chunk.fd);
    return status;
  }
  chunk.inode = info.st_ino;
  chunk.bytes = static_cast<uint64_t>(info.st_size);
  chunk.changed_ns = info.st_ctim.tv_sec * int64_t{1'000'000'000} + info.st_ctim.tv_nsec;
  return chunk;
}

bool ReadExactly(int fd, char* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, out + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

bool IsSha256Hex(absl::string_view text) {
  return text.size() == 2 * privacy::kSha256Bytes &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

absl::Status CheckManifest(const ManifestRecord& manifest) {
  const auto refuse = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(
        "the manifest of model ", manifest.sha256.substr(0, kDigestPrefix), " ", what));
  };
  if (!IsSha256Hex(manifest.sha256)) return refuse("has no digest");
  if (manifest.bytes <= 0) return refuse("has no bytes");
  const uint64_t wanted =
      (static_cast<uint64_t>(manifest.bytes) + kChunkFileBytes - 1) / kChunkFileBytes;
  if (manifest.chunks.size() != wanted) return refuse("does not have the chunks for its bytes");
  if (!std::all_of(manifest.chunks.begin(), manifest.chunks.end(),
                   [](const std::string& chunk) { return IsSha256Hex(chunk); })) {
    return refuse("names a chunk that is no digest");
  }
  return absl::OkStatus();
}

ModelReader::ModelReader(ModelReader&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      manifest_(std::move(other.manifest_)),
      held_index_(std::exchange(other.held_index_, SIZE_MAX)),
      held_(std::move(other.held_)) {}

ModelReader::~ModelReader() {
  if (store_ != nullptr) store_->Unpin(manifest_.sha256);
}

absl::StatusOr<ChunkPtr> ModelReader::Chunk(size_t index) const {
  if (index >= manifest_.chunks.size()) return absl::OutOfRangeError("beyond the model");
  const uint64_t begin = uint64_t{index} * kChunkFileBytes;
  return store_->Load(manifest_.chunks[index],
                      static_cast<size_t>(std::min<uint64_t>(kChunkFileBytes, bytes() - begin)),
                      manifest_.sha256);
}

absl::Status ModelReader::ReadAt(uint64_t offset, char* out, size_t size) const {
  if (offset > bytes() || size > bytes() - offset) return absl::OutOfRangeError("beyond the model");
  while (size > 0) {
    const size_t index = static_cast<size_t>(offset / kChunkFileBytes);
    if (index != held_index_) {
      held_index_ = SIZE_MAX;
      held_.reset();  // before the next is loaded: one chunk at a time
      CSL_ASSIGN_OR_RETURN(held_, Chunk(index));
      held_index_ = index;
    }
    const absl::string_view rest = held_->view().substr(offset % kChunkFileBytes);
    const size_t piece = std::min(size, rest.size());
    std::memcpy(out, rest.data(), piece);
    out += piece;
    offset += piece;
    size -= piece;
  }
  return absl::OkStatus();
}

absl::Status ChunkStore::Prepare() const {
  const std::string incoming = JoinPath(folder_, kIncomingFolder);
  std::error_code error;
  fs::remove_all(incoming, error);
  if (error) return absl::UnavailableError("what a killed writer left cannot be removed");
  CSL_RETURN_IF_ERROR(MakeDirs(incoming));
  return SyncDir(folder_);
}

std::string ChunkStore::ChunkPath(absl::string_view sha256) const {
  return absl::StrCat(folder_, "/", sha256.substr(0, 2), "/", sha256.substr(2, 2), "/", sha256);
}

absl::StatusOr<ModelReader> ChunkStore::Open(const ManifestRecord& manifest) {
  CSL_RETURN_IF_ERROR(CheckManifest(manifest));
  absl::MutexLock lock(&mutex_);
  if (condemned_.contains(manifest.sha256)) {
    return absl::NotFoundError("the weights of this model are no longer kept");
  }
  ++pins_[manifest.sha256];
  return ModelReader(this, manifest);
}

void ChunkStore::Unpin(const std::string& model_sha256) {
  absl::MutexLock lock(&mutex_);
  const auto it = pins_.find(model_sha256);
  if (--it->second == 0) pins_.erase(it);
}

bool ChunkStore::Condemn(absl::string_view model_sha256) {
  absl::MutexLock lock(&mutex_);
  if (pins_.contains(model_sha256)) return false;
  condemned_.emplace(model_sha256);
  return true;
}

void ChunkStore::Pardon(absl::string_view model_sha256) {
  absl::MutexLock lock(&mutex_);
  condemned_.erase(std::string(model_sha256));
}

void ChunkStore::Hold(const std::string& sha256) {
  absl::MutexLock lock(&mutex_);
  ++holds_[sha256];
}

void ChunkStore::LetGo(const std::vector<std::string>& sha256) {
  absl::MutexLock lock(&mutex_);
  for (const std::string& chunk : sha256) {
    const auto it = holds_.find(chunk);
    if (--it->second == 0) holds_.erase(it);
    let_go_.insert(chunk);
  }
}

void ChunkStore::Remember(const std::string& sha256, const Seen& seen) const {
  absl::MutexLock lock(&mutex_);
  if (seen_.size() >= kSeenMax) seen_.clear();
  seen_.insert_or_assign(sha256, seen);
}

absl::StatusOr<ChunkPtr> ChunkStore::Load(const std::string& sha256, size_t bytes,
                                          absl::string_view model) const {
  Seen before;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto it = loaded_.find(sha256); it != loaded_.end()) {
      if (ChunkPtr shared = it->second.lock(); shared != nullptr && shared->view().size() == bytes) {
        return shared;
      }
      loaded_.erase(it);
    }
    if (const auto it = seen_.find(sha256); it != seen_.end()) before = it->second;
  }
  const absl::StatusOr<OpenChunk> open = OpenForReading(ChunkPath(sha256));
  if (absl::IsNotFound(open.status())) return Damaged(sha256, model, "is missing");
  CSL_RETURN_IF_ERROR(open.status());
  const auto close = absl::MakeCleanup([&open] { ::close(open->fd); });
  if (open->bytes != bytes) return Damaged(sha256, model, "has another length");
  auto data = std::make_unique_for_overwrite<char[]>(bytes);
  if (!ReadExactly(open->fd, data.get(), bytes)) return Damaged(sha256, model, "does not read");
  const absl::string_view view(data.get(), bytes);
  const uint32_t crc = Crc32c(view);
  const bool unchanged = before.inode == open->inode && before.bytes == open->bytes &&
                         before.changed_ns == open->changed_ns && before.crc32c == crc;
  if (!unchanged) {
    if (privacy::Sha256Hex(view) != sha256) return Damaged(sha256, model, "is damaged");
    Remember(sha256, {open->inode, open->bytes, open->changed_ns, crc});
  }
  const ChunkPtr chunk = std::make_shared<const ChunkBytes>(std::move(data), bytes);
  absl::MutexLock lock(&mutex_);
  if (loaded_.size() >= kSeenMax) {
    std::erase_if(loaded_, [](const auto& entry) { return entry.second.expired(); });
  }
  loaded_.insert_or_assign(sha256, chunk);
  return chunk;
}

absl::Status ChunkStore::Verify(absl::string_view sha256) const {
  const absl::StatusOr<std::string> digest = privacy::Sha256HexOfFile(ChunkPath(sha256));
  if (absl::IsNotFound(digest.status())) return absl::DataLossError("is missing");
  if (!digest.ok()) return absl::DataLossError("does not read");
  return *digest == sha256 ? absl::OkStatus() : absl::DataLossError("is damaged");
}

absl::StatusOr<std::vector<ChunkStore::ChunkFile>> ChunkStore::List(
    std::vector<std::string>* strangers) const {
  std::vector<ChunkFile> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder_, error), end;
  for (; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (it->is_directory(error)) {
      if (it->path().filename() == kIncomingFolder) it.disable_recursion_pending();
      continue;
    }
    const std::string name = it->path().filename().string();
    struct stat info;
    if (::lstat(path.c_str(), &info) != 0) continue;  // removed meanwhile
    if (!S_ISREG(info.st_mode) || !IsSha256Hex(name) || ChunkPath(name) != path) {
      if (strangers != nullptr) strangers->push_back(path.substr(folder_.size() + 1));
      continue;
    }
    files.push_back({name, static_cast<uint64_t>(info.st_size),
                     absl::TimeFromTimespec(info.st_mtim)});
  }
  if (error) return absl::UnavailableError("the folder of chunks cannot be read");
  std::sort(files.begin(), files.end(),
            [](const ChunkFile& a, const ChunkFile& b) { return a.sha256 < b.sha256; });
  return files;
}

void ChunkStore::BeginSweep() {
  absl::MutexLock lock(&mutex_);
  let_go_.clear();
}

absl::StatusOr<bool> ChunkStore::Remove(absl::string_view sha256, absl::Time before) {
  const std::string path = ChunkPath(sha256);
  // Under the lock: a writer that wants this chunk holds it first, then looks whether it is there.
  absl::MutexLock lock(&mutex_);
  if (holds_.contains(sha256) || let_go_.contains(sha256)) return false;
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::StatusOr<bool>(false) : ChunkFileError("stat", path);
  }
  if (absl::TimeFromTimespec(info.st_mtim) >= before) return false;
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ChunkFileError("remove", path);
  seen_.erase(std::string(sha256));
  return true;
}

}  // namespace consilium::coordinator
