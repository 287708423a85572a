#include "training/memory/caching_allocator.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string_view>
#include <vector>

namespace consilium::training {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCachedFrom = size_t{32} << 10;  // below this malloc is as good
constexpr size_t kHeaderBytes = 64;               // keeps the data aligned for AVX-512

// Sits right before the data, so that freeing needs no lookup.
struct Header {
  size_t capacity;  // whole block, header included; 0: not cached
};
static_assert(sizeof(Header) <= kHeaderBytes);

// Blocks come in eight sizes per power of two (at most 12.5 % waste), so that a block fits the
// next request of nearly its size. Large ones are whole huge pages.
size_t RoundToClass(size_t bytes) {
  const size_t step = std::max(std::bit_floor(bytes) / 8, size_t{4096});
  const size_t rounded = (bytes + step - 1) / step * step;
  if (rounded < kHugePage) return rounded;
  return (rounded + kHugePage - 1) / kHugePage * kHugePage;
}

void* NewBlock(size_t capacity) {
  const size_t alignment = capacity >= kHugePage ? kHugePage : size_t{4096};
  void* base = nullptr;
  if (posix_memalign(&base, alignment, capacity) != 0) throw std::bad_alloc();
  // Only advice: where huge pages are off, the block works as any other.
  if (capacity >= kHugePage) madvise(base, capacity, MADV_HUGEPAGE);
  return base;
}

class BlockCache {
 public:
  BlockCache() {
    const size_t physical = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) *
                            static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // Several agents may share a machine; one must not hold on to most of its memory.
    stats_.cached_bytes_max = std::min(physical / 8, size_t{8} << 30);
  }

  // The base of a block of `capacity` bytes.
  void* Take(size_t capacity) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto it = free_.find(capacity);
      if (it != free_.end() && !it->second.empty()) {
        void* base = it->second.back();
        it->second.pop_back();
        stats_.cached_bytes -= capacity;
        ++stats_.hits;
        return base;
      }
      ++stats_.misses;
    }
    return NewBlock(capacity);
  }

  void Give(void* base, size_t capacity) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stats_.cached_bytes + capacity <= stats_.cached_bytes_max) {
        free_[capacity].push_back(base);
        stats_.cached_bytes += capacity;
        return;
      }
    }
    free(base);
  }

  void Release() {
    std::map<size_t, std::vector<void*>> blocks;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      blocks.swap(free_);
      stats_.cached_bytes = 0;
    }
    for (auto& [capacity, list] : blocks) {
      for (void* base : list) free(base);
    }
  }

  AllocatorStats Stats() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by capacity; guarded by mutex_
  AllocatorStats stats_;                       // guarded by mutex_
};

// Never destroyed: tensors in static storage are freed after main.
BlockCache& Cache() {
  static BlockCache* cache = new BlockCache;
  return *cache;
}

// LibTorch 1.13 has `allocate(...) const`; later releases dropped the const and added the pure
// virtual copy_data. Without `override` this class fits both: whichever exists is overridden.
class TorchAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) { return Make(bytes); }
  c10::DataPtr allocate(size_t bytes) const { return Make(bytes); }
  c10::DeleterFnPtr raw_deleter() const override { return &FreeBlock; }
  void copy_data(void* to, const void* from, std::size_t bytes) const {
    std::memcpy(to, from, bytes);
  }

 private:
  static c10::DataPtr Make(size_t bytes) {
    void* data = bytes == 0 ? nullptr : AllocateBlock(bytes);
    return {data, data, &FreeBlock, at::Device(at::kCPU)};
  }
};

}  // namespace

void* AllocateBlock(size_t bytes) {
  const size_t wanted = bytes + kHeaderBytes;
  void* base = nullptr;
  size_t capacity = 0;
  if (wanted >= kCachedFrom) {
    capacity = RoundToClass(wanted);
    base = Cache().Take(capacity);
  } else if (posix_memalign(&base, kHeaderBytes, wanted) != 0) {
    throw std::bad_alloc();
  }
  new (base) Header{capacity};
  return static_cast<char*>(base) + kHeaderBytes;
}

void FreeBlock(void* block) {
  if (block == nullptr) return;
  void* base = static_cast<char*>(block) - kHeaderBytes;
  const size_t capacity = static_cast<Header*>(base)->capacity;
  if (capacity == 0) {
    free(base);
  } else {
    Cache().Give(base, capacity);
  }
}

void InstallCachingAllocator() {
  static const bool installed = [] {
    const char* choice = std::getenv("CONSILIUM_TORCH_MALLOC");
    if (choice != nullptr && std::string_view(choice) == "system") return false;
    static TorchAllocator* allocator = new TorchAllocator;
    c10::SetCPUAllocator(allocator, /*priority=*/1);
    return true;
  }();
  static_cast<void>(installed);
}

AllocatorStats CachingAllocatorStats() { return Cache().Stats(); }

void ReleaseCachedBlocks() { Cache().Release(); }

}  // namespace consilium::training
