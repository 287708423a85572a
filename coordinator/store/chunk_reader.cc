// How chunks come off the disk. Whoever reads a model from front to back gets the next chunks read
// and checked by other threads while it works on this one: one thread alone does not keep a disk
// busy, and copies and hashes at the speed of one core.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/chunk_files.h"
#include "coordinator/store/chunk_store.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kSeenMax = 1 << 16;  // 256 GiB of chunks; beyond that they are checked anew
constexpr size_t kPieceBytes = size_t{128} << 10;  // its checksum is taken while it is in the cache
constexpr size_t kAheadOfReader = 3;
constexpr int kAheadMax = 16;  // of all readers: 64 MiB
constexpr unsigned kAheadThreadsMax = 4;

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

// What is not in memory is asked for as a whole: piece by piece the disk would wait for us.
void StartReading(int fd, char* scratch) {
  const iovec one = {scratch, 1};
  if (::preadv2(fd, &one, 1, 0, RWF_NOWAIT) != 1) {
    (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
  }
}

// Reads exactly `size` bytes and takes their CRC-32C. False: the file ends before or does not read.
bool ReadWithCrc(int fd, char* out, size_t size, uint32_t& crc) {
  StartReading(fd, out);
  for (size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(fd, out + done, std::min(kPieceBytes, size - done), static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    crc = ExtendCrc32c(crc, {out + done, static_cast<size_t>(got)});
    done += static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

// One chunk that a pool thread reads, or its reader if it comes first.
class ChunkAhead {
 public:
  explicit ChunkAhead(const ChunkStore& store) : store_(store) { ++store_.ahead_; }
  ~ChunkAhead() { --store_.ahead_; }

  // True for one caller only, who then reads and calls Finish.
  bool Claim() { return !claimed_.exchange(true); }
  void Finish(absl::StatusOr<ChunkPtr> result) {
    absl::MutexLock lock(&mutex_);
    result_ = std::move(result);
  }
  absl::StatusOr<ChunkPtr> Await() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](std::optional<absl::StatusOr<ChunkPtr>>* result) { return result->has_value(); },
        &result_));
    return *std::move(result_);
  }

 private:
  const ChunkStore& store_;
  std::atomic<bool> claimed_ = false;
  absl::Mutex mutex_;
  std::optional<absl::StatusOr<ChunkPtr>> result_ ABSL_GUARDED_BY(mutex_);
};

ModelReader::ModelReader(ModelReader&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      manifest_(std::move(other.manifest_)),
      held_index_(std::exchange(other.held_index_, SIZE_MAX)),
      held_(std::move(other.held_)),
      next_(std::exchange(other.next_, SIZE_MAX)),
      ahead_(std::move(other.ahead_)) {}

ModelReader::~ModelReader() {
  DropAhead();
  if (store_ != nullptr) store_->Unpin(manifest_.sha256);
}

void ModelReader::DropAhead() const {
  for (const auto& chunk : ahead_) (void)chunk->Claim();  // what has not begun will not
  ahead_.clear();
}

size_t ModelReader::ChunkBytesAt(size_t index) const {
  return static_cast<size_t>(
      std::min<uint64_t>(kChunkFileBytes, bytes() - uint64_t{index} * kChunkFileBytes));
}

void ModelReader::ReadAhead() const {
  for (size_t index = next_ + ahead_.size();
       index < chunks() && ahead_.size() < kAheadOfReader && store_->ahead_ < kAheadMax; ++index) {
    auto chunk = std::make_shared<ChunkAhead>(*store_);
    ahead_.push_back(chunk);
    store_->pool().Schedule([store = store_, chunk, sha256 = manifest_.chunks[index],
                             size = ChunkBytesAt(index), model = manifest_.sha256] {
      if (chunk->Claim()) chunk->Finish(store->Load(sha256, size, model));
    });
  }
}

absl::StatusOr<ChunkPtr> ModelReader::Chunk(size_t index) const {
  if (index >= manifest_.chunks.size()) return absl::OutOfRangeError("beyond the model");
  const bool in_order = index == next_;
  std::shared_ptr<ChunkAhead> begun;
  if (!in_order) DropAhead();
  if (!ahead_.empty()) {
    begun = std::move(ahead_.front());
    ahead_.pop_front();
  }
  next_ = index + 1;
  if (in_order) ReadAhead();
  if (begun != nullptr && !begun->Claim()) return begun->Await();
  return store_->Load(manifest_.chunks[index], ChunkBytesAt(index), manifest_.sha256);
}

absl::Status ModelReader::ReadAt(uint64_t offset, char* out, size_t size) const {
  if (offset > bytes() || size > bytes() - offset) return absl::OutOfRangeError("beyond the model");
  while (size > 0) {
    const size_t index = static_cast<size_t>(offset / kChunkFileBytes);
    if (index != held_index_) {
      held_index_ = SIZE_MAX;
      held_.reset();  // its buffer is free for the next
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

ThreadPool& ChunkStore::pool() const {
  absl::MutexLock lock(&mutex_);
  if (pool_ == nullptr) {
    const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1u, kAheadThreadsMax);
    pool_ = std::make_unique<ThreadPool>(static_cast<int>(threads));
  }
  return *pool_;
}

void ChunkStore::Remember(const std::string& sha256, const Seen& seen) const {
  absl::MutexLock lock(&mutex_);
  if (seen_.size() >= kSeenMax) seen_.clear();
  seen_.insert_or_assign(sha256, seen);
}

absl::StatusOr<ChunkPtr> ChunkStore::Load(const std::string& sha256, size_t bytes,
                                          absl::string_view model) const {
  {
    absl::MutexLock lock(&mutex_);
    // Who wants a chunk that somebody is reading gets that copy.
    while (loading_.contains(sha256)) load_ended_.Wait(&mutex_);
    if (const auto it = loaded_.find(sha256); it != loaded_.end()) {
      if (ChunkPtr shared = it->second.lock(); shared != nullptr && shared->view().size() == bytes) {
        return shared;
      }
      loaded_.erase(it);
    }
    loading_.insert(sha256);
  }
  absl::StatusOr<ChunkPtr> chunk = ReadChecked(sha256, bytes, model);
  absl::MutexLock lock(&mutex_);
  loading_.erase(sha256);
  load_ended_.SignalAll();
  if (!chunk.ok()) return chunk;
  if (loaded_.size() >= kSeenMax) {
    std::erase_if(loaded_, [](const auto& entry) { return entry.second.expired(); });
  }
  loaded_.insert_or_assign(sha256, *chunk);
  return chunk;
}

absl::StatusOr<ChunkPtr> ChunkStore::ReadChecked(const std::string& sha256, size_t bytes,
                                                 absl::string_view model) const {
  Seen before;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto it = seen_.find(sha256); it != seen_.end()) before = it->second;
  }
  const absl::StatusOr<OpenChunk> open = OpenForReading(ChunkPath(sha256));
  if (absl::IsNotFound(open.status())) return Damaged(sha256, model, "is missing");
  CSL_RETURN_IF_ERROR(open.status());
  const auto close = absl::MakeCleanup([&open] { ::close(open->fd); });
  if (open->bytes != bytes) return Damaged(sha256, model, "has another length");
  ChunkBuffers::Buffer buffer = ChunkBuffers::Take(buffers_);
  uint32_t crc = 0;
  if (!ReadWithCrc(open->fd, buffer.get(), bytes, crc)) {
    return Damaged(sha256, model, "does not read");
  }
  const bool unchanged = before.inode == open->inode && before.bytes == open->bytes &&
                         before.changed_ns == open->changed_ns && before.crc32c == crc;
  if (!unchanged) {
    if (privacy::Sha256Hex({buffer.get(), bytes}) != sha256) {
      return Damaged(sha256, model, "is damaged");
    }
    Remember(sha256, {open->inode, open->bytes, open->changed_ns, crc});
  }
  return std::make_shared<const ChunkBytes>(std::move(buffer), bytes);
}

}  // namespace consilium::coordinator
