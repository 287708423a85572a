#include "training/data/patch_sampler.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <stdexcept>

#include "training/testing/phantom.h"

namespace consilium::training {
namespace {

// Intensity = linear index, label 1 in one corner voxel.
Case Numbered(const SizeDhw& size) {
  Case volume;
  volume.size = size;
  const int64_t n = size[0] * size[1] * size[2];
  for (int64_t i = 0; i < n; ++i) volume.image.push_back(static_cast<float>(i));
  volume.label.assign(n, 0);
  volume.label.back() = 1;
  return volume;
}

class OneCase final : public CaseSource {
 public:
  explicit OneCase(Case volume) : volume_(std::move(volume)) {}
  int64_t size() const override { return 1; }
  bool labelled(int64_t) const override { return volume_.labelled(); }
  Case Load(int64_t) override { return volume_; }

 private:
  Case volume_;
};

PatchSamplerOptions Sized(const SizeDhw& patch) {
  PatchSamplerOptions options;
  options.patch = options.crop = patch;
  return options;
}

TEST(CropTest, InsideIsCopiedAndOutsideIsZero) {
  const Case volume = Numbered({2, 3, 4});
  const Patch patch = Crop(volume, 1, {1, 1, -1}, {2, 2, 3});
  EXPECT_EQ(patch.image,
            (std::vector<float>{0, 16, 17, 0, 20, 21, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(patch.label.size(), 12u);
  const Patch far = Crop(volume, 1, {50, 0, 0}, {1, 1, 1});
  EXPECT_EQ(far.image, std::vector<float>{0});
}

TEST(PatchSamplerTest, ForegroundPatchesHoldForeground) {
  OneCase source(Numbered({20, 20, 20}));
  PatchSamplerOptions options = Sized({4, 4, 4});
  options.foreground_fraction = 1.0;
  PatchSampler sampler(source, options, 1);
  for (int i = 0; i < 20; ++i) {
    const Patch patch = sampler.NextLabelled();
    EXPECT_EQ(std::count(patch.label.begin(), patch.label.end(), 1), 1);
  }
}

TEST(PatchSamplerTest, SmallVolumeIsWhollyInsideAnywhere) {
  OneCase source(MakePhantom({5, 6, 7}, 2, 1));
  PatchSampler sampler(source, Sized({8, 8, 8}), 1);
  std::set<size_t> firsts;
  for (int i = 0; i < 40; ++i) {
    const Patch patch = sampler.NextLabelled();
    size_t filled = 0;
    for (float v : patch.image) filled += v != 0.0f;
    EXPECT_EQ(filled, 5u * 6 * 7);
    size_t first = 0;
    while (patch.image[first] == 0.0f) ++first;
    firsts.insert(first);
  }
  EXPECT_GT(firsts.size(), 5u);
}

TEST(PatchSamplerTest, StreamsAreApartAndEveryCaseComesUp) {
  PhantomSource source(6, {8, 8, 8}, 2, 1);
  source.DropLabelsFrom(4);
  for (int64_t i = 0; i < 6; ++i) source.at(i).image[0] = static_cast<float>(100 + i);
  PatchSampler sampler(source, Sized({8, 8, 8}), 3);
  std::set<float> labelled, unlabelled;
  for (int i = 0; i < 4; ++i) labelled.insert(sampler.NextLabelled().image[0]);
  for (int i = 0; i < 2; ++i) {
    const Patch patch = sampler.NextUnlabelled();
    EXPECT_TRUE(patch.label.empty());
    unlabelled.insert(patch.image[0]);
  }
  EXPECT_EQ(labelled, (std::set<float>{100, 101, 102, 103}));
  EXPECT_EQ(unlabelled, (std::set<float>{104, 105}));
}

TEST(PatchSamplerTest, OnlyTheGivenCasesAreUsed) {
  PhantomSource source(6, {8, 8, 8}, 2, 1);
  PatchSamplerOptions options = Sized({8, 8, 8});
  options.cases = {2};
  for (int64_t i = 0; i < 6; ++i) source.at(i).image[0] = static_cast<float>(100 + i);
  PatchSampler sampler(source, options, 3);
  EXPECT_FALSE(sampler.has_unlabelled());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sampler.NextLabelled().image[0], 102);
  options.cases = {6};
  EXPECT_THROW(PatchSampler(source, options, 3), std::invalid_argument);
}

TEST(PatchSamplerTest, EqualSeedsGiveEqualPatches) {
  PhantomSource source(3, {12, 12, 12}, 2, 1);
  PatchSampler a(source, Sized({8, 8, 8}), 9), b(source, Sized({8, 8, 8}), 9);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(a.NextLabelled().image, b.NextLabelled().image);
}

TEST(CheckCaseTest, CasesThatDoNotFitAreRefused) {
  const Case good = MakePhantom({4, 4, 4}, 2, 1);
  EXPECT_NO_THROW(CheckCase(good, 1, 2));
  EXPECT_THROW(CheckCase(good, 2, 2), std::invalid_argument);
  Case size = good, label = good, high = good, nan = good;
  size.size = {4, 4, -4};
  label.label.pop_back();
  high.label[3] = 2;
  nan.image[5] = std::numeric_limits<float>::quiet_NaN();
  for (const Case& bad : {size, label, high, nan}) {
    EXPECT_THROW(CheckCase(bad, 1, 2), std::invalid_argument);
  }
}

}  // namespace
}  // namespace consilium::training
