#include "site_agent/imaging/preprocess.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::imaging {
namespace {

Volume Line(std::vector<float> values, double spacing = 1) {
  Volume volume;
  volume.geometry.size_xyz = {static_cast<int64_t>(values.size()), 1, 1};
  volume.geometry.spacing_xyz_mm = {spacing, 1, 1};
  volume.voxels = std::move(values);
  return volume;
}

Geometry SagittalGrid() {
  Geometry grid;
  grid.size_xyz = {5, 4, 3};
  grid.spacing_xyz_mm = {1, 2, 3};
  grid.origin_lps_mm = {-7, 8, 9};
  grid.direction = {0, 0, -1, 1, 0, 0, 0, -1, 0};
  return grid;
}

TEST(SameGridTest, ComparesCorners) {
  const Geometry grid = SagittalGrid();
  Geometry other = grid;
  EXPECT_TRUE(SameGrid(grid, other));
  other.origin_lps_mm[1] += 0.09;
  EXPECT_TRUE(SameGrid(grid, other));
  other.origin_lps_mm[1] += 0.02;
  EXPECT_FALSE(SameGrid(grid, other));
  other = grid;
  other.spacing_xyz_mm[0] = 1.03;  // 0.12 mm at the far end
  EXPECT_FALSE(SameGrid(grid, other));
  other = grid;
  other.size_xyz[2] = 4;
  EXPECT_FALSE(SameGrid(grid, other));
  other = grid;
  other.origin_lps_mm[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(SameGrid(grid, other));
}

// Golden values of torch.nn.functional.interpolate(mode="linear", align_corners=False).
TEST(ResampleTest, FollowsAlignCornersFalse) {
  const Volume line = Line({0, 10, 20, 30});
  const Volume finer = ResampleImage(line, PlanGrid(line.geometry, {0.5, 1, 1}));
  EXPECT_EQ(finer.voxels, (std::vector<float>{0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30}));
  const Volume coarser = ResampleImage(line, PlanGrid(line.geometry, {2, 1, 1}));
  EXPECT_EQ(coarser.voxels, (std::vector<float>{5, 25}));
  const Volume odd = ResampleImage(line, PlanGrid(line.geometry, {4.0 / 3, 1, 1}));
  EXPECT_THAT(odd.voxels, testing::Pointwise(testing::FloatNear(1e-5f),
                                             std::vector<float>{1.6666667f, 15, 28.333334f}));
}

TEST(PlanGridTest, EdgesCoincideWhereTheSpacingDoesNotDivideTheVolume) {
  const Geometry grid = PlanGrid(Line({0, 1, 2, 3, 4}).geometry, {2, 1, 1});
  EXPECT_EQ(grid.size_xyz[0], 3);  // 2.5 rounded away from zero
  EXPECT_DOUBLE_EQ(grid.spacing_xyz_mm[0], 5.0 / 3);
  EXPECT_DOUBLE_EQ(grid.origin_lps_mm[0] - grid.spacing_xyz_mm[0] / 2, -0.5);
}

TEST(PlanGridTest, SagittalBecomesLps) {
  const Geometry grid = PlanGrid(SagittalGrid(), {3, 1, 2});
  EXPECT_EQ(grid.size_xyz, (std::array<int64_t, 3>{3, 5, 4}));
  EXPECT_EQ(grid.direction, (std::array<double, 9>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(grid.spacing_xyz_mm, (std::array<double, 3>{3, 1, 2}));
  // x: from -7 down to -13; y: from 8 up; z: from 9 down to 3.
  EXPECT_THAT(grid.origin_lps_mm,
              testing::Pointwise(testing::DoubleNear(1e-12), std::vector<double>{-13, 8, 3}));
}

TEST(PlanGridTest, ObliquenessStays) {
  Geometry source;
  source.size_xyz = {4, 4, 4};
  source.direction = {-0.8, 0.6, 0, -0.6, -0.8, 0, 0, 0, 1};
  const Geometry grid = PlanGrid(source, {1, 1, 1});
  EXPECT_THAT(grid.direction,
              testing::Pointwise(testing::DoubleNear(1e-12),
                                 std::vector<double>{0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1}));
  const Geometry again = PlanGrid(grid, {1, 1, 1});
  EXPECT_TRUE(SameGrid(grid, again, 1e-9));
}

TEST(ResampleTest, PermutedAxesMoveVoxelsWithoutChange) {
  Volume source{SagittalGrid(), std::vector<float>(60)};
  std::iota(source.voxels.begin(), source.voxels.end(), 0.0f);
  const Geometry grid = PlanGrid(source.geometry, {3, 1, 2});
  const Volume lps = ResampleImage(source, grid);
  // LPS voxel (0, 0, 0) has the lowest x, y and z: source k = 2, i = 0, j = 3.
  EXPECT_EQ(lps.voxels[0], 0 + 5 * (3 + 4 * 2));
  EXPECT_EQ(ResampleImage(lps, source.geometry).voxels, source.voxels);
}

// A grid turned by 45 degrees takes the general path; a linear field is interpolated exactly.
TEST(ResampleTest, TurnedGridReadsALinearField) {
  Volume source;
  source.geometry.size_xyz = {9, 9, 3};
  for (int64_t i = 0; i < 243; ++i) {
    source.voxels.push_back(static_cast<float>(i % 9 + 10 * (i / 9 % 9) + 100 * (i / 81)));
  }
  Geometry turned;
  const double c = std::sqrt(0.5);
  turned.size_xyz = {3, 3, 2};
  turned.origin_lps_mm = {4, 3, 0.5};
  turned.direction = {c, -c, 0, c, c, 0, 0, 0, 1};
  const Volume out = ResampleImage(source, turned);
  for (int64_t i = 0; i < 18; ++i) {
    const double u = static_cast<double>(i % 3), v = static_cast<double>(i / 3 % 3);
    const double x = 4 + c * u - c * v, y = 3 + c * u + c * v, z = 0.5 + static_cast<double>(i / 9);
    EXPECT_NEAR(out.voxels[static_cast<size_t>(i)], x + 10 * y + 100 * z, 1e-3);
  }
}

TEST(ResampleLabelTest, LargestShareWinsAndTiesGoToTheLowerLabel) {
  LabelVolume line;
  line.geometry.size_xyz = {4, 1, 1};
  line.voxels = {2, 1, 1, 3};
  EXPECT_EQ(ResampleLabel(line, PlanGrid(line.geometry, {2, 1, 1})).voxels,
            (std::vector<uint8_t>{1, 1}));
  EXPECT_EQ(ResampleLabel(line, PlanGrid(line.geometry, {0.5, 1, 1})).voxels,
            (std::vector<uint8_t>{2, 2, 1, 1, 1, 1, 3, 3}));
  EXPECT_EQ(ResampleLabel(line, line.geometry).voxels, line.voxels);
}

TEST(RestoreLabelsTest, IsTheIdentityOnOneHotProbabilities) {
  LabelVolume truth{SagittalGrid(), {}};
  for (int i = 0; i < 60; ++i) truth.voxels.push_back(static_cast<uint8_t>(i * 7 % 3));
  const Geometry grid = PlanGrid(truth.geometry, {3, 1, 2});
  const LabelVolume labels = ResampleLabel(truth, grid);
  std::vector<float> probabilities(3 * 60);
  for (size_t i = 0; i < 60; ++i) probabilities[60 * labels.voxels[i] + i] = 1;
  const LabelVolume restored = RestoreLabels(probabilities, 3, grid, truth.geometry);
  EXPECT_EQ(restored.voxels, truth.voxels);
}

TEST(PrepareImageTest, NormalisesByThePopulation) {
  wire::Plan plan;
  const auto prepared = PrepareImage(Line({1, 2, 3, 4}), plan);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const float unit = 1 / std::sqrt(1.25f);
  EXPECT_THAT(prepared->voxels, testing::Pointwise(testing::FloatNear(1e-6f),
                                                   std::vector<float>{-1.5f * unit, -0.5f * unit,
                                                                      0.5f * unit, 1.5f * unit}));
}

TEST(PrepareImageTest, NormalisesAsThePlanSays) {
  const std::pair<const char*, std::vector<float>> cases[] = {
      {"range", {0, 0.25f, 0.5f, 0.75f, 1}},
      // Ranks 0.4 and 3.6 of 0, 10, ..., 40 are 4 and 36.
      {"percentile 10 90", {0, 6 / 32.0f, 0.5f, 26 / 32.0f, 1}},
      {"window 20 20", {0, 0, 0.5f, 1, 1}},
      {"window brain", {0, 0.125f, 0.25f, 0.375f, 0.5f}},
      // 0, 10, 20, 20, 20 has mean 14 and deviation 8.
      {"window 10 20 z-score", {-1.75f, -0.5f, 0.75f, 0.75f, 0.75f}}};
  for (const auto& [text, wanted] : cases) {
    wire::Plan plan;
    plan.normalisation = text;
    const auto prepared = PrepareImage(Line({0, 10, 20, 30, 40}), plan);
    ASSERT_TRUE(prepared.ok()) << text << prepared.status();
    EXPECT_THAT(prepared->voxels, testing::Pointwise(testing::FloatNear(1e-6f), wanted)) << text;
  }
}

TEST(PrepareImageTest, RefusesWhatCannotBeNormalised) {
  wire::Plan plan;
  EXPECT_EQ(PrepareImage(Line({5, 5, 5}), plan).status().message(), "all voxels are equal");
  EXPECT_EQ(PrepareImage(Line({5, NAN, 5}), plan).status().message(), "a voxel is not a number");
}

}  // namespace
}  // namespace consilium::imaging
