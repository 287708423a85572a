#include "coordinator/store/chunk_buffers.h"

#include <sys/mman.h>

#include <new>

namespace consilium::coordinator {
namespace {

constexpr size_t kFreeBuffersMax = 4;  // what one reader needs at full speed
// Of a large page: one fault instead of 512 where the system has such pages to give.
constexpr std::align_val_t kAlignment{size_t{2} << 20};
static_assert(kChunkFileBytes % static_cast<size_t>(kAlignment) == 0);

void Free(char* buffer) { ::operator delete(buffer, kAlignment); }

}  // namespace

ChunkBuffers::~ChunkBuffers() {
  for (char* const buffer : free_) Free(buffer);
}

ChunkBuffers::Buffer ChunkBuffers::Take(const std::shared_ptr<ChunkBuffers>& owner) {
  {
    absl::MutexLock lock(&owner->mutex_);
    if (!owner->free_.empty()) {
      char* const buffer = owner->free_.back();
      owner->free_.pop_back();
      return Buffer(buffer, Return{owner});
    }
  }
  char* const buffer = static_cast<char*>(::operator new(kChunkFileBytes, kAlignment));
  (void)::madvise(buffer, kChunkFileBytes, MADV_HUGEPAGE);  // only a wish
  return Buffer(buffer, Return{owner});
}

void ChunkBuffers::TakeBack(char* buffer) {
  {
    absl::MutexLock lock(&mutex_);
    if (free_.size() < kFreeBuffersMax) {
      free_.push_back(buffer);
      return;
    }
  }
  Free(buffer);
}

}  // namespace consilium::coordinator
