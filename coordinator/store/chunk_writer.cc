// How chunks reach the disk. The caller's thread hashes the whole file while a second one hashes,
// writes and starts the write-back of each chunk. Syncs come at the end of a batch: by then most of
// the data is on the disk, and on a journalling file system the first sync of a batch commits for
// all of it. That keeps the cost of sixty files near that of one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/store/chunk_files.h"
#include "coordinator/store/chunk_store.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kBatchChunks = 64;  // open files, and 256 MiB of dirty pages at most
constexpr size_t kTemporaryNameBytes = 12;
constexpr mode_t kChunkMode = 0600;

bool WriteExactly(int fd, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Whether the file under this name is there and has these bytes: a damaged one is written anew.
bool IsThere(const std::string& path, absl::string_view data) {
  const absl::StatusOr<std::string> present = ReadFile(path, data.size());
  return present.ok() && *present == data;
}

}  // namespace

struct ChunkWriter::Rep {
  struct Written {
    int fd = -1;  // -1: it was there
    std::string temporary;
    std::string sha256;
    uint32_t crc32c = 0;
    size_t bytes = 0;
  };

  explicit Rep(ChunkStore& s)
      : store(s), name(HexEncode(privacy::RandomBytes(kTemporaryNameBytes))), thread(1) {
    buffer.reserve(kChunkFileBytes);
  }

  // --- the caller's thread ---
  absl::Status Flush() {
    if (buffer.empty()) return absl::OkStatus();
    {
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(this, &Rep::HasRoom));
      CSL_RETURN_IF_ERROR(status);
      ++queued;
    }
    auto data = std::make_shared<std::string>(std::move(buffer));
    buffer = std::string();
    buffer.reserve(kChunkFileBytes);
    thread.Schedule([this, data] {
      const absl::Status written = Write(*data);
      absl::MutexLock lock(&mutex);
      if (status.ok()) status = written;
      --queued;
    });
    return absl::OkStatus();
  }
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return queued < kWriterChunks - 1; }

  // --- the second thread ---
  absl::Status Write(const std::string& data);
  absl::Status Settle();
  absl::Status Place(Written& chunk, std::set<std::string>& folders);

  ChunkStore& store;
  const std::string name;
  std::string buffer;
  privacy::Sha256Stream whole;
  uint64_t bytes = 0;
  bool finished = false;

  std::vector<Written> batch;         // written, not yet durable
  std::vector<std::string> chunks;    // of the manifest
  std::vector<std::string> held;
  absl::Mutex mutex;
  int queued ABSL_GUARDED_BY(mutex) = 0;
  absl::Status status ABSL_GUARDED_BY(mutex);
  ThreadPool thread;  // last: joined first
};

absl::Status ChunkWriter::Rep::Write(const std::string& data) {
  {
    absl::MutexLock lock(&mutex);
    CSL_RETURN_IF_ERROR(status);
  }
  Written chunk;
  chunk.sha256 = privacy::Sha256Hex(data);
  chunk.bytes = data.size();
  chunk.crc32c = Crc32c(data);
  store.Hold(chunk.sha256);
  held.push_back(chunk.sha256);
  chunks.push_back(chunk.sha256);
  const std::string path = store.ChunkPath(chunk.sha256);
  if (IsThere(path, data)) {
    // Young again, so that a collection does not take it for a leftover.
    if (::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) != 0) return ChunkFileError("touch", path);
  } else {
    chunk.temporary = absl::StrCat(store.folder(), "/", kIncomingFolder, "/", name, "-",
                                   chunks.size());
    chunk.fd = ::open(chunk.temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kChunkMode);
    if (chunk.fd < 0) return ChunkFileError("create", path);
    batch.push_back(chunk);  // from here on ~ChunkWriter closes and removes it
    if (!WriteExactly(chunk.fd, data)) return ChunkFileError("write", path);
    // Only a start: Settle syncs.
    (void)::sync_file_range(chunk.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return batch.size() < kBatchChunks ? absl::OkStatus() : Settle();
  }
  batch.push_back(chunk);
  return absl::OkStatus();
}

absl::Status ChunkWriter::Rep::Place(Written& chunk, std::set<std::string>& folders) {
  const std::string path = store.ChunkPath(chunk.sha256);
  const std::string folder = path.substr(0, path.rfind('/'));
  const std::string above = folder.substr(0, folder.rfind('/'));
  // Whoever made them may not have synced them yet: all levels are, always.
  folders.insert({store.folder(), above, folder});
  if (chunk.fd < 0) return absl::OkStatus();
  for (const std::string& one : {above, folder}) {
    if (::mkdir(one.c_str(), 0700) != 0 && errno != EEXIST) return ChunkFileError("place", path);
  }
  if (::rename(chunk.temporary.c_str(), path.c_str()) != 0) return ChunkFileError("place", path);
  chunk.temporary.clear();
  struct stat info;
  if (::fstat(chunk.fd, &info) != 0) return ChunkFileError("stat", path);
  store.Remember(chunk.sha256,
                 {info.st_ino, chunk.bytes,
                  info.st_ctim.tv_sec * int64_t{1'000'000'000} + info.st_ctim.tv_nsec,
                  chunk.crc32c});
  return absl::OkStatus();
}

absl::Status ChunkWriter::Rep::Settle() {
  for (const Written& chunk : batch) {
    if (chunk.fd >= 0 && ::fdatasync(chunk.fd) != 0) return ChunkFileError("sync", chunk.sha256);
  }
  std::set<std::string> folders;
  for (Written& chunk : batch) CSL_RETURN_IF_ERROR(Place(chunk, folders));
  for (const Written& chunk : batch) {
    if (chunk.fd >= 0) ::close(chunk.fd);
  }
  batch.clear();
  for (const std::string& folder : folders) CSL_RETURN_IF_ERROR(SyncDir(folder));
  return absl::OkStatus();
}

ChunkWriter::ChunkWriter(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
ChunkWriter::ChunkWriter(ChunkWriter&&) noexcept = default;

ChunkWriter::~ChunkWriter() {
  if (rep_ == nullptr) return;
  rep_->thread.Wait();
  for (const Rep::Written& chunk : rep_->batch) {
    if (chunk.fd >= 0) ::close(chunk.fd);
    if (!chunk.temporary.empty()) ::unlink(chunk.temporary.c_str());
  }
  rep_->store.LetGo(rep_->held);
}

absl::Status ChunkWriter::Append(absl::string_view data) {
  CSL_CHECK(!rep_->finished);
  rep_->bytes += data.size();
  while (!data.empty()) {
    const size_t piece = std::min(data.size(), kChunkFileBytes - rep_->buffer.size());
    rep_->buffer.append(data.data(), piece);
    rep_->whole.Update(data.substr(0, piece));
    data.remove_prefix(piece);
    if (rep_->buffer.size() == kChunkFileBytes) CSL_RETURN_IF_ERROR(rep_->Flush());
  }
  return absl::OkStatus();
}

absl::StatusOr<ManifestRecord> ChunkWriter::Finish() {
  CSL_CHECK(!rep_->finished);
  rep_->finished = true;
  if (rep_->bytes == 0) return absl::InvalidArgumentError("a model has at least one byte");
  CSL_RETURN_IF_ERROR(rep_->Flush());
  rep_->thread.Wait();
  {
    absl::MutexLock lock(&rep_->mutex);
    CSL_RETURN_IF_ERROR(rep_->status);
  }
  CSL_RETURN_IF_ERROR(rep_->Settle());
  ManifestRecord manifest;
  manifest.sha256 = HexEncode(rep_->whole.Finish());
  manifest.bytes = static_cast<int64_t>(rep_->bytes);
  manifest.chunks = rep_->chunks;
  return manifest;
}

ChunkWriter ChunkStore::NewWriter() {
  return ChunkWriter(std::make_unique<ChunkWriter::Rep>(*this));
}

}  // namespace consilium::coordinator
