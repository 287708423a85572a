#include "training/data/patch_prefetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>

#include "training/testing/phantom.h"

namespace consilium::training {
namespace {

// Counts what is loaded, and fails at one load.
class Counted final : public CaseSource {
 public:
  explicit Counted(int64_t fails_at = -1) : inner_(6, {8, 8, 8}, 2, 1), fails_at_(fails_at) {
    inner_.DropLabelsFrom(4);
  }
  int64_t size() const override { return inner_.size(); }
  bool labelled(int64_t index) const override { return inner_.labelled(index); }
  Case Load(int64_t index) override {
    if (loads++ == fails_at_) throw std::runtime_error("the disk is gone");
    return inner_.Load(index);
  }
  std::atomic<int64_t> loads = 0;

 private:
  PhantomSource inner_;
  const int64_t fails_at_;
};

PatchSamplerOptions Small() {
  PatchSamplerOptions options;
  options.patch = options.crop = {4, 4, 4};
  return options;
}

TEST(PatchPrefetcherTest, GivesWhatTheSamplerGivesInItsOrder) {
  Counted source, same;
  PatchSampler alone(same, Small(), 7), sampler(source, Small(), 7);
  PatchPrefetcher ahead(sampler, {.labelled = 2, .unlabelled = 1, .batches = 5, .ahead = 2});
  for (int i = 0; i < 15; ++i) {
    const Patch expected = i % 3 < 2 ? alone.NextLabelled() : alone.NextUnlabelled();
    const Patch patch = ahead.Next();
    EXPECT_EQ(patch.image, expected.image) << i;
    EXPECT_EQ(patch.label, expected.label) << i;
  }
  EXPECT_EQ(source.loads, 15) << "nothing is loaded beyond the last batch";
  EXPECT_THROW(ahead.Next(), std::logic_error);
}

TEST(PatchPrefetcherTest, LoadsAheadAndNoFurther) {
  Counted source;
  PatchSampler sampler(source, Small(), 7);
  PatchPrefetcher ahead(sampler, {.labelled = 1, .unlabelled = 0, .batches = 100, .ahead = 3});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (source.loads < 3 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_EQ(source.loads, 3) << "before the first is asked for";
  for (int64_t taken = 1; taken <= 50; ++taken) {
    ahead.Next();
    EXPECT_LE(source.loads, taken + 3);
  }
}

TEST(PatchPrefetcherTest, WhatTheSourceThrowsComesAtItsPlace) {
  Counted source(/*fails_at=*/2);
  PatchSampler sampler(source, Small(), 7);
  PatchPrefetcher ahead(sampler, {.labelled = 1, .unlabelled = 0, .batches = 10, .ahead = 4});
  ahead.Next();
  ahead.Next();
  EXPECT_THROW(ahead.Next(), std::runtime_error);
  EXPECT_THROW(ahead.Next(), std::runtime_error) << "for good";
}

TEST(PatchPrefetcherTest, MayBeGivenUpHalfWay) {
  Counted source;
  PatchSampler sampler(source, Small(), 7);
  {
    PatchPrefetcher ahead(sampler, {.labelled = 1, .unlabelled = 1, .batches = 1000});
    ahead.Next();
  }
  const int64_t loads = source.loads;
  EXPECT_LT(loads, 10);
}

}  // namespace
}  // namespace consilium::training
