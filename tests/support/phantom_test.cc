#include "tests/support/phantom.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/hospital.h"

namespace consilium::phantom {
namespace {

Phantom SmallPhantom(uint64_t seed, const Vec3& centre = {0, 0, 0}) {
  Random random(seed);
  const Anatomy anatomy = MakeAnatomy(random);
  const Protocol coarse = {.pixel_mm = 4, .slice_mm = 4, .appearance = {}, .dicom = {}};
  return Render(anatomy, centre, ProtocolGrid(coarse, centre), {}, random);
}

int64_t Count(const Phantom& phantom, uint8_t label) {
  return std::count(phantom.truth.voxels.begin(), phantom.truth.voxels.end(), label);
}

TEST(RandomTest, StreamIsTheSameOnEveryMachine) {
  Random random(7);
  EXPECT_EQ(random.Next(), 0x63cbe1e459320dd7ull);
  EXPECT_EQ(Random(7, "a").Next(), Random(7, "a").Next());
  EXPECT_NE(Random(7, "a").Next(), Random(7, "b").Next());
}

TEST(RandomTest, UidIsValidAndFitsItsField) {
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    const std::string uid = random.Uid();
    EXPECT_THAT(uid, ::testing::MatchesRegex("2\\.25\\.[1-9][0-9]*"));
    EXPECT_LE(uid.size(), 64u);
  }
}

TEST(PhantomTest, SameSeedSameVoxels) {
  const Phantom a = SmallPhantom(7), b = SmallPhantom(7), other = SmallPhantom(8);
  EXPECT_EQ(a.image.voxels, b.image.voxels);
  EXPECT_EQ(a.truth.voxels, b.truth.voxels);
  EXPECT_NE(a.truth.voxels, other.truth.voxels);
}

TEST(PhantomTest, EveryPatientHasBothStructuresOfPlausibleSize) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Phantom phantom = SmallPhantom(seed);
    const double voxel_ml = 4 * 4 * 4 / 1000.0;
    EXPECT_GT(Count(phantom, 1) * voxel_ml, 4) << seed;
    EXPECT_LT(Count(phantom, 1) * voxel_ml, 20) << seed;
    EXPECT_GT(Count(phantom, 2) * voxel_ml, 3) << seed;
    EXPECT_LT(Count(phantom, 2) * voxel_ml, 20) << seed;
  }
}

TEST(PhantomTest, TruthMovesWithThePatient) {
  EXPECT_EQ(SmallPhantom(3).truth.voxels, SmallPhantom(3, {10, -20, 30}).truth.voxels);
}

// The task would be worthless for a network if a threshold solved it.
TEST(PhantomTest, NoThresholdFindsAStructure) {
  for (uint64_t seed : {1, 2, 3}) {
    const Phantom phantom = SmallPhantom(seed);
    for (uint8_t label : {1, 2}) {
      double best = 0;
      for (float threshold = 0; threshold < 1500; threshold += 25) {
        int64_t found = 0, right = 0;
        for (size_t i = 0; i < phantom.image.voxels.size(); ++i) {
          if (phantom.image.voxels[i] <= threshold) continue;
          ++found;
          right += phantom.truth.voxels[i] == label;
        }
        best = std::max(best, 2.0 * static_cast<double>(right) /
                                  static_cast<double>(found + Count(phantom, label)));
      }
      EXPECT_LT(best, 0.5) << "label " << int{label} << " seed " << seed;
    }
  }
}

TEST(PhantomTest, ThereAreLookAlikes) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Random random(seed);
    const Anatomy anatomy = MakeAnatomy(random);
    EXPECT_GE(anatomy.other_ellipsoids.size(), 1u) << seed;
    EXPECT_GE(anatomy.other_tubes.size(), 1u) << seed;
  }
}

}  // namespace
}  // namespace consilium::phantom
