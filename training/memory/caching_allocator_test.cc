#include "training/memory/caching_allocator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace consilium::training {
namespace {

TEST(CachingAllocatorTest, BlocksAreAlignedAndWritable) {
  for (size_t bytes : {size_t{1}, size_t{1000}, size_t{100000}, size_t{5} << 20}) {
    void* block = AllocateBlock(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    std::memset(block, 0xAB, bytes);
    FreeBlock(block);
  }
}

TEST(CachingAllocatorTest, FreedBlockServesARequestOfAboutItsSize) {
  ReleaseCachedBlocks();
  void* first = AllocateBlock(size_t{10} << 20);
  FreeBlock(first);
  EXPECT_GT(CachingAllocatorStats().cached_bytes, size_t{10} << 20);
  void* second = AllocateBlock((size_t{10} << 20) + 1000);
  EXPECT_EQ(first, second);
  FreeBlock(second);
  ReleaseCachedBlocks();
  EXPECT_EQ(CachingAllocatorStats().cached_bytes, 0u);
}

TEST(CachingAllocatorTest, CacheIsBounded) {
  const AllocatorStats stats = CachingAllocatorStats();
  EXPECT_GT(stats.cached_bytes_max, 0u);
  EXPECT_LE(stats.cached_bytes_max, size_t{8} << 30);
  // One block beyond the bound is given back at once. Never written, so it costs no memory.
  ReleaseCachedBlocks();
  FreeBlock(AllocateBlock(stats.cached_bytes_max));
  EXPECT_EQ(CachingAllocatorStats().cached_bytes, 0u);
}

TEST(CachingAllocatorTest, ThreadsMayShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) {
        const size_t bytes = 40000 + 1000 * static_cast<size_t>(i % 7);
        char* block = static_cast<char*>(AllocateBlock(bytes));
        std::memset(block, t, bytes);
        for (size_t at : {size_t{0}, bytes - 1}) ASSERT_EQ(block[at], t);
        FreeBlock(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(CachingAllocatorTest, TensorsUseIt) {
  InstallCachingAllocator();
  { at::Tensor warm = at::empty({1 << 20}); }
  const int64_t before = CachingAllocatorStats().hits;
  { at::Tensor again = at::empty({1 << 20}); }
  EXPECT_EQ(CachingAllocatorStats().hits, before + 1);
  EXPECT_EQ(at::empty({0}).numel(), 0);
}

}  // namespace
}  // namespace consilium::training
