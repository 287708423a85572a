// The weights of models as content-addressed files of 4 MiB: <folder>/ab/cd/<sha256 of the piece>.
//
// Order: Prepare once, before anything else; then any call. Thread-safe; a ChunkWriter or a
// ModelReader belongs to one thread at a time, and the store must outlive both.
//
// Durability: a chunk is written under a temporary name, synced, renamed, its folder synced; only
// then does ChunkWriter::Finish return the manifest, for the caller to commit while the writer
// lives. A crash at any point leaves at most files that no manifest names. A chunk that a writer
// holds is never removed by Remove.
// Integrity: every read checks the piece. The first one in a process by its SHA-256, later ones, as
// long as inode, size and change time stay as they were, by a CRC-32C taken then (RFC 3720 B.4). The
// digest finds whatever happened to the file, on purpose too, while no process watched it; the CRC
// finds what a disk, a cable or memory does to bytes that nobody wrote. Who can write beneath the file
// system, without its change time, can deceive the CRC until the next start, and could as well change
// the process. `Verify` takes the digest always.
// Memory: readers share the chunks that they hold, so any number of readers of a model hold at most
// that model; a writer holds kWriterChunks chunks. A reader that goes from front to back has up to
// three chunks read ahead, all readers together at most 16.
// Errors: DATA_LOSS: a chunk is damaged or missing; the message names chunk and model.
// RESOURCE_EXHAUSTED: no space.
#ifndef CONSILIUM_COORDINATOR_STORE_CHUNK_STORE_H_
#define CONSILIUM_COORDINATOR_STORE_CHUNK_STORE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/store/chunk_buffers.h"
#include "coordinator/store/records.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

inline constexpr int kWriterChunks = 4;

bool IsSha256Hex(absl::string_view text);  // 64 lower-case hex digits

// OK: bytes and number of chunks fit, every name is a digest. DATA_LOSS says what does not.
absl::Status CheckManifest(const ManifestRecord& manifest);

// A piece of a model in memory, checked. Shared by whoever reads it at the moment.
class ChunkBytes {
 public:
  ChunkBytes(ChunkBuffers::Buffer data, size_t size) : data_(std::move(data)), size_(size) {}
  absl::string_view view() const { return {data_.get(), size_}; }

 private:
  ChunkBuffers::Buffer data_;
  size_t size_;
};
using ChunkPtr = std::shared_ptr<const ChunkBytes>;

class ChunkAhead;
class ChunkStore;

// Reads one model and pins it: its chunks are not collected while the reader lives.
class ModelReader {
 public:
  ModelReader(ModelReader&& other) noexcept;
  ModelReader& operator=(ModelReader&&) = delete;
  ~ModelReader();

  uint64_t bytes() const { return static_cast<uint64_t>(manifest_.bytes); }
  const std::string& sha256() const { return manifest_.sha256; }
  size_t chunks() const { return manifest_.chunks.size(); }
  // Chunk `index` begins at byte index * kChunkFileBytes of the model.
  absl::StatusOr<ChunkPtr> Chunk(size_t index) const;
  // Exactly `size` bytes. OUT_OF_RANGE: beyond the model. Keeps the last chunk at hand.
  absl::Status ReadAt(uint64_t offset, char* out, size_t size) const;

 private:
  friend class ChunkStore;
  ModelReader(ChunkStore* store, ManifestRecord manifest)
      : store_(store), manifest_(std::move(manifest)) {}
  size_t ChunkBytesAt(size_t index) const;
  void ReadAhead() const;
  void DropAhead() const;
  ChunkStore* store_;
  ManifestRecord manifest_;
  mutable size_t held_index_ = SIZE_MAX;
  mutable ChunkPtr held_;
  mutable size_t next_ = SIZE_MAX;  // the chunk after the one that was asked for last
  mutable std::deque<std::shared_ptr<ChunkAhead>> ahead_;  // from next_ on
};

// Takes a file's bytes as they come.
class ChunkWriter {
 public:
  ChunkWriter(ChunkWriter&&) noexcept;
  ChunkWriter& operator=(ChunkWriter&&) = delete;
  // Gives up what was not finished and lets go of the chunks: commit the manifest before.
  ~ChunkWriter();

  // An error is final: also Finish returns it.
  absl::Status Append(absl::string_view data);
  // All chunks are durable. INVALID_ARGUMENT: no byte was written.
  absl::StatusOr<ManifestRecord> Finish();

 private:
  friend class ChunkStore;
  struct Rep;
  explicit ChunkWriter(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

class ChunkStore {
 public:
  explicit ChunkStore(std::string folder) : folder_(std::move(folder)) {}

  // Makes the folder and removes what a killed writer left half-written.
  absl::Status Prepare() const;

  ChunkWriter NewWriter();
  // NOT_FOUND: the weights are being removed. DATA_LOSS: the manifest does not fit together.
  absl::StatusOr<ModelReader> Open(const ManifestRecord& manifest);

  // Checks the file against its name, whole, without a cache. DATA_LOSS: missing or damaged.
  absl::Status Verify(absl::string_view sha256) const;

  struct ChunkFile {
    std::string sha256;
    uint64_t bytes = 0;
    absl::Time changed;
  };
  // Every chunk file there is; `strangers` gets the names (below the folder) of what is none.
  absl::StatusOr<std::vector<ChunkFile>> List(std::vector<std::string>* strangers) const;

  // Keeps Open from giving out this model from now on. False: somebody is reading it.
  bool Condemn(absl::string_view model_sha256);
  void Pardon(absl::string_view model_sha256);
  // A sweep: BeginSweep, then read the manifests, then Remove what none of them names. Whatever a
  // writer held at any time since BeginSweep stays, because its manifest may have come later. One
  // sweep at a time.
  void BeginSweep();
  // Removes a chunk that was last written or wanted before `before`. False: it stays.
  absl::StatusOr<bool> Remove(absl::string_view sha256, absl::Time before);

  std::string ChunkPath(absl::string_view sha256) const;
  const std::string& folder() const { return folder_; }

 private:
  friend class ChunkAhead;
  friend class ChunkWriter;
  friend class ModelReader;
  // What a file was when its bytes had its digest.
  struct Seen {
    uint64_t inode = 0;
    uint64_t bytes = 0;
    int64_t changed_ns = 0;
    uint32_t crc32c = 0;
  };
  absl::StatusOr<ChunkPtr> Load(const std::string& sha256, size_t bytes,
                                absl::string_view model) const;
  absl::StatusOr<ChunkPtr> ReadChecked(const std::string& sha256, size_t bytes,
                                       absl::string_view model) const;
  ThreadPool& pool() const;
  void Remember(const std::string& sha256, const Seen& seen) const;
  void Unpin(const std::string& model_sha256);
  void Hold(const std::string& sha256);
  void LetGo(const std::vector<std::string>& sha256);

  const std::string folder_;
  const std::shared_ptr<ChunkBuffers> buffers_ = std::make_shared<ChunkBuffers>();
  mutable std::atomic<int> ahead_ = 0;  // chunks, of all readers
  mutable absl::Mutex mutex_;
  mutable absl::CondVar load_ended_;
  mutable std::set<std::string, std::less<>> loading_ ABSL_GUARDED_BY(mutex_);
  mutable std::map<std::string, Seen, std::less<>> seen_ ABSL_GUARDED_BY(mutex_);
  mutable std::map<std::string, std::weak_ptr<const ChunkBytes>, std::less<>> loaded_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int, std::less<>> pins_ ABSL_GUARDED_BY(mutex_);   // models being read
  std::map<std::string, int, std::less<>> holds_ ABSL_GUARDED_BY(mutex_);  // chunks being written
  std::set<std::string, std::less<>> condemned_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> let_go_ ABSL_GUARDED_BY(mutex_);  // since the last BeginSweep
  mutable std::unique_ptr<ThreadPool> pool_ ABSL_GUARDED_BY(mutex_);  // last: joined first
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_CHUNK_STORE_H_
