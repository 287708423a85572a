// Memory for chunks, used again and again.
//
// Page-aligned, because the kernel copies a file's pages several times faster to where they lie alike,
// and kept for the next reader, because fresh memory costs more than the copy into it. Thread-safe.
#ifndef CONSILIUM_COORDINATOR_STORE_CHUNK_BUFFERS_H_
#define CONSILIUM_COORDINATOR_STORE_CHUNK_BUFFERS_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace consilium::coordinator {

inline constexpr size_t kChunkFileBytes = size_t{4} << 20;

class ChunkBuffers {
 public:
  // Hands a buffer back; it may outlive whoever took it.
  struct Return {
    std::shared_ptr<ChunkBuffers> owner;
    void operator()(char* buffer) const { owner->TakeBack(buffer); }
  };
  using Buffer = std::unique_ptr<char, Return>;  // kChunkFileBytes, of any content

  ChunkBuffers() = default;
  ChunkBuffers(const ChunkBuffers&) = delete;
  ChunkBuffers& operator=(const ChunkBuffers&) = delete;
  ~ChunkBuffers();
  static Buffer Take(const std::shared_ptr<ChunkBuffers>& owner);

 private:
  void TakeBack(char* buffer);
  absl::Mutex mutex_;
  std::vector<char*> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_CHUNK_BUFFERS_H_
