#include "site_agent/imaging/channels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/preprocess.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

using testing::HasSubstr;

using Point = std::array<double, 3>;

Point CentreOf(const Geometry& g, int64_t i, int64_t j, int64_t k) {
  const std::array<double, 3> index = {static_cast<double>(i), static_cast<double>(j),
                                       static_cast<double>(k)};
  Point point = g.origin_lps_mm;
  for (int row = 0; row < 3; ++row) {
    for (int a = 0; a < 3; ++a) {
      point[row] += g.direction[3 * row + a] * index[a] * g.spacing_xyz_mm[a];
    }
  }
  return point;
}

void ForEachCentre(const Geometry& g, const std::function<void(size_t, const Point&)>& visit) {
  size_t at = 0;
  for (int64_t k = 0; k < g.size_xyz[2]; ++k) {
    for (int64_t j = 0; j < g.size_xyz[1]; ++j) {
      for (int64_t i = 0; i < g.size_xyz[0]; ++i) visit(at++, CentreOf(g, i, j, k));
    }
  }
}

// Linear in space, so that linear interpolation is exact wherever eight voxels surround the point.
double Field(const Point& p) { return 3 * p[0] - 2 * p[1] + 0.5 * p[2] + 7; }

Volume FieldOn(const Geometry& geometry) {
  Volume volume{geometry, std::vector<float>(static_cast<size_t>(geometry.voxels()))};
  ForEachCentre(geometry, [&](size_t at, const Point& p) {
    volume.voxels[at] = static_cast<float>(Field(p));
  });
  return volume;
}

// 40 x 36 x 30 mm from (-20, -18, -15), axes along the patient.
Geometry Reference() {
  Geometry g;
  g.size_xyz = {20, 12, 10};
  g.spacing_xyz_mm = {2, 3, 3};
  g.origin_lps_mm = {-19, -16.5, -13.5};
  return g;
}

// Larger than Reference, coronal, other spacing and turned by 10 degrees about x.
Geometry Other() {
  const double c = std::cos(0.1745329), s = std::sin(0.1745329);
  Geometry g;
  g.size_xyz = {40, 40, 20};
  g.spacing_xyz_mm = {1.5, 1.5, 3};
  g.direction = {1, 0, 0, 0, s, c, 0, -c, s};  // columns: right-left, feet, back
  for (int row = 0; row < 3; ++row) {          // its middle at the patient's origin
    g.origin_lps_mm[row] = 0;
    for (int a = 0; a < 3; ++a) {
      g.origin_lps_mm[row] -= g.direction[3 * row + a] * g.spacing_xyz_mm[a] *
                              static_cast<double>(g.size_xyz[a] - 1) / 2;
    }
  }
  return g;
}

// `further` is normalised by window -1000..1000, so that 0.5 + v / 2000 is what v becomes.
wire::Plan TwoChannels(const char* further = "window 0 2000") {
  wire::Plan plan;
  plan.spacing_xyz_mm = {2, 2, 2};
  plan.channels = {{"MR", {}, further}};
  plan.network.in_channels = 2;
  return plan;
}

TEST(PrepareChannelsTest, OneChannelIsPrepareImageToTheBit) {
  wire::Plan plan;
  plan.spacing_xyz_mm = {1.7, 2.1, 2.9};
  const Volume source = FieldOn(Other());
  const auto one = PrepareImage(source, plan);
  const auto same = PrepareChannels({source}, plan);
  ASSERT_TRUE(one.ok() && same.ok());
  EXPECT_EQ(same->voxels, one->voxels);
  EXPECT_EQ(same->grid.size_xyz, one->geometry.size_xyz);
  EXPECT_EQ(same->grid.origin_lps_mm, one->geometry.origin_lps_mm);
}

TEST(PrepareChannelsTest, FurtherChannelOfOtherSpacingAndOrientationLiesOnTheFirstsGrid) {
  const wire::Plan plan = TwoChannels();
  const auto prepared = PrepareChannels({FieldOn(Reference()), FieldOn(Other())}, plan);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const Geometry grid = PlanGrid(Reference(), plan.spacing_xyz_mm);
  EXPECT_EQ(prepared->grid.size_xyz, grid.size_xyz);
  const auto voxels = static_cast<size_t>(grid.voxels());
  ASSERT_EQ(prepared->voxels.size(), 2 * voxels);
  double worst = 0;
  ForEachCentre(grid, [&](size_t at, const Point& p) {
    worst = std::max(worst, std::abs(prepared->voxels[voxels + at] - (0.5 + Field(p) / 2000)));
  });
  EXPECT_LT(worst, 1e-6);
  // The first is what it is alone.
  wire::Plan alone = plan;
  alone.channels.clear();
  const auto first = PrepareImage(FieldOn(Reference()), alone);
  EXPECT_TRUE(std::equal(first->voxels.begin(), first->voxels.end(), prepared->voxels.begin()));
}

TEST(PrepareChannelsTest, WhatIsNotCoveredIsPaddingAndNotPartOfTheStatistics) {
  wire::Plan plan = TwoChannels("z-score");
  Geometry half = Reference();  // the lower half along z, to half a voxel beyond its last centre
  half.size_xyz[2] = 5;
  const Volume source = FieldOn(half);
  const auto prepared = PrepareChannels({FieldOn(Reference()), source}, plan);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const auto voxels = static_cast<size_t>(prepared->grid.voxels());
  double sum = 0, squares = 0;
  std::vector<float> outside;
  int64_t inside = 0;
  ForEachCentre(prepared->grid, [&](size_t at, const Point& p) {
    const float value = prepared->voxels[voxels + at];
    if (p[2] > 0) return outside.push_back(value);
    ++inside;
    sum += value;
    squares += value * value;
  });
  ASSERT_GT(inside, 0);
  EXPECT_NEAR(sum / static_cast<double>(inside), 0, 1e-5);
  EXPECT_NEAR(squares / static_cast<double>(inside), 1, 1e-5);
  ASSERT_FALSE(outside.empty());
  EXPECT_THAT(outside, testing::Each(outside.front()));
  const auto covered_min = std::min_element(
      prepared->voxels.begin() + static_cast<std::ptrdiff_t>(voxels), prepared->voxels.end());
  EXPECT_EQ(outside.front(), *covered_min);
}

TEST(PrepareChannelsTest, TooLittleCoveredIsRefusedWithThePart) {
  wire::Plan plan = TwoChannels();
  Geometry half = Reference();
  half.size_xyz[2] = 5;
  EXPECT_NEAR(CoveredPart(half, Reference()), 0.5, 1e-12);
  EXPECT_EQ(CoveredPart(Other(), Reference()), 1);
  EXPECT_LT(CoveredPart(Reference(), Other()), 1);
  EXPECT_TRUE(PrepareChannels({FieldOn(Reference()), FieldOn(half)}, plan).ok());
  plan.coverage_min = 0.6;
  const auto refused = PrepareChannels({FieldOn(Reference()), FieldOn(half)}, plan);
  EXPECT_EQ(refused.status().message(), "channel 2: covers less than 0.6 of channel 1");
  plan.coverage_min = 0;
  half.origin_lps_mm[0] += 500;
  EXPECT_EQ(CoveredPart(half, Reference()), 0);
  EXPECT_EQ(PrepareChannels({FieldOn(Reference()), FieldOn(half)}, plan).status().message(),
            "channel 2: covers no voxel of the first");
}

TEST(PrepareChannelsTest, RefusesWhatCannotBeAChannel) {
  const wire::Plan plan = TwoChannels();
  EXPECT_EQ(PrepareChannels({FieldOn(Reference())}, plan).status().message(),
            "1 images for a plan of 2 channels");
  Volume flat = FieldOn(Reference());
  flat.voxels[3] = std::nanf("");
  EXPECT_EQ(PrepareChannels({FieldOn(Reference()), flat}, plan).status().message(),
            "channel 2: a voxel is not a number");
  std::fill(flat.voxels.begin(), flat.voxels.end(), 5.0f);
  EXPECT_EQ(
      PrepareChannels({FieldOn(Reference()), flat}, TwoChannels("z-score")).status().message(),
      "channel 2: all voxels are equal");
}

TEST(ConvertUnitTest, SuvNeedsItsFactor) {
  wire::Plan plan = TwoChannels("suv window 5 10");
  plan.channels[0].modality = "PT";
  Volume volume = FieldOn(Reference());
  const std::vector<float> before = volume.voxels;
  ASSERT_TRUE(ConvertUnit(plan, 0, {}, volume).ok());
  EXPECT_EQ(volume.voxels, before);
  EXPECT_EQ(ConvertUnit(plan, 1, {"BQML", 0, "no half-life"}, volume).message(),
            "channel 2: no SUV: no half-life");
  ASSERT_TRUE(ConvertUnit(plan, 1, {"BQML", 0.25, ""}, volume).ok());
  for (size_t i = 0; i < before.size(); ++i) ASSERT_EQ(volume.voxels[i], before[i] * 0.25f);
}

// From DICOM: the same voxel values, read from series of other plane and spacing, come together.
TEST(PrepareChannelsTest, SeriesOfOtherPlanesMeetInSpace) {
  const TempDir folder = TempDir::Create("channels").value();
  const auto assemble = [&](TestSeries series, const char* name) {
    const std::string path = JoinPath(folder.path(), name);
    CSL_CHECK(MakeDirs(path).ok());
    return AssembleSeries(WriteTestSeries(series, path)).value();
  };
  TestSeries axial;  // 7 x 0.75 mm, 5 x 1.5 mm, 6 x 2 mm
  TestSeries sagittal;
  sagittal.columns = 10;
  sagittal.rows = 14;
  sagittal.slices = 9;
  sagittal.orientation = {0, 1, 0, 0, 0, -1};
  sagittal.row_spacing_mm = 1;
  sagittal.column_spacing_mm = 0.75;
  sagittal.first_position = {-10.5, 19.5, 42};
  sagittal.slice_step = {0.625, 0, 0};
  const AssembledSeries first = assemble(axial, "axial"), second = assemble(sagittal, "sagittal");
  wire::Plan plan = TwoChannels();
  plan.spacing_xyz_mm = {0.75, 1.5, 2};  // the axial series' own grid
  const auto prepared = PrepareChannels({first.volume, second.volume}, plan);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const auto voxels = static_cast<size_t>(prepared->grid.voxels());
  const auto& source = second.volume.geometry;
  ForEachCentre(prepared->grid, [&](size_t at, const Point& p) {
    // The series' own axes: y along columns, feet along rows, right to left along slices.
    const double column = (p[1] - 19.5) / 0.75, row = 42 - p[2], slice = (p[0] + 10.5) / 0.625;
    const double wanted = column + 10 * row + 100 * slice - 50;
    EXPECT_NEAR(prepared->voxels[voxels + at], 0.5 + wanted / 2000, 2e-6) << at;
  });
  EXPECT_EQ(source.size_xyz[2], 9);
}

}  // namespace
}  // namespace consilium::imaging
