#include "privacy/dp/local_noise.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/dp/test_random_stream.h"

namespace consilium::dp {
namespace {

TEST(LocalNoiseTest, GridIsAPowerOfTwoAndCostsAThousandthAtMost) {
  for (const double clip : {0.3, 1.0, 7.5}) {
    for (const double z : {0.5, 1.6, 8.0}) {
      for (const int64_t dimensions : {int64_t{1}, int64_t{2'000'000}, int64_t{62'000'000}}) {
        const double grid = NoiseGrid(clip, z, dimensions);
        int exponent = 0;
        EXPECT_EQ(std::frexp(grid, &exponent), 0.5);
        EXPECT_LE(grid, z * clip / 1024);
        EXPECT_LE(SnappedSensitivity(clip, grid, dimensions), clip * (1 + 1.0 / 1024));
        EXPECT_GT(SnappedSensitivity(clip, grid, dimensions), clip);
        // The next coarser grid breaks one of the two.
        EXPECT_TRUE(2 * grid > z * clip / 1024 ||
                    SnappedSensitivity(clip, 2 * grid, dimensions) > clip * (1 + 1.0 / 1024));
      }
    }
  }
}

// The worst two neighbours: each coordinate of one is snapped down, and of the other up.
TEST(LocalNoiseTest, SensitivityCoversSnappingInTheWorstDirection) {
  constexpr int64_t kDimensions = 10'000;
  constexpr double kGrid = 0.25;
  double apart_squares = 0;
  double snapped_squares = 0;
  for (int64_t i = 0; i < kDimensions; ++i) {
    const double one = 0.499 * kGrid;
    const double other = 7.501 * kGrid;
    const double snapped = kGrid * (std::nearbyint(other / kGrid) - std::nearbyint(one / kGrid));
    apart_squares += (other - one) * (other - one);
    snapped_squares += snapped * snapped;
  }
  const double clip = std::sqrt(apart_squares);
  const double bound = SnappedSensitivity(clip, kGrid, kDimensions);
  EXPECT_LE(std::sqrt(snapped_squares), bound);
  EXPECT_GE(std::sqrt(snapped_squares), clip + 0.99 * (bound - clip));
}

TEST(LocalNoiseTest, EveryValueIsOnTheGridAndTheNoiseIsAsWideAsItSays) {
  constexpr size_t kCount = 1'000'000;
  const auto noise = LocalNoise::Create(
      {.clip = 1.5, .noise_multiplier = 2, .dimensions = kCount, .sum_slack = 0.01});
  ASSERT_TRUE(noise.ok()) << noise.status();
  EXPECT_DOUBLE_EQ(noise->sensitivity(), SnappedSensitivity(1.5, noise->grid(), kCount) + 0.01);
  EXPECT_DOUBLE_EQ(noise->sigma(), 2 * noise->sensitivity());
  std::vector<float> sum(kCount);
  for (size_t i = 0; i < kCount; ++i) sum[i] = 0.1f * std::sin(static_cast<float>(i));
  const std::vector<float> before = sum;
  RandomStream random = SeededRandomStream(1);
  ASSERT_TRUE(noise->AddTo(random, absl::MakeSpan(sum)).ok());
  double mean = 0;
  double squares = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const double steps = sum[i] / noise->grid();
    ASSERT_EQ(steps, std::nearbyint(steps)) << i;
    const double added = static_cast<double>(sum[i]) - before[i];
    mean += added;
    squares += added * added;
  }
  const double sigma = std::sqrt(squares / kCount);
  EXPECT_NEAR(sigma / noise->sigma(), 1, 0.005);
  EXPECT_LT(std::abs(mean / kCount), 5 * sigma / std::sqrt(kCount));
}

TEST(LocalNoiseTest, ZeroAndTinySumsLeaveNoTrace) {
  // A sum below half a grid step is snapped away: with the same stream, the same result.
  const auto noise = LocalNoise::Create({.clip = 1, .noise_multiplier = 1, .dimensions = 100});
  ASSERT_TRUE(noise.ok());
  std::vector<float> zero(100, 0.0f);
  std::vector<float> tiny(100, static_cast<float>(noise->grid() * 0.49));
  RandomStream one = SeededRandomStream(2);
  RandomStream same = SeededRandomStream(2);
  ASSERT_TRUE(noise->AddTo(one, absl::MakeSpan(zero)).ok());
  ASSERT_TRUE(noise->AddTo(same, absl::MakeSpan(tiny)).ok());
  EXPECT_EQ(zero, tiny);
}

TEST(LocalNoiseTest, ABadValueLeavesTheSumAsItWas) {
  const auto noise = LocalNoise::Create({.clip = 1, .noise_multiplier = 1, .dimensions = 3000});
  ASSERT_TRUE(noise.ok());
  RandomStream random;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f}) {
    std::vector<float> sum(3000, 0.25f);
    sum.back() = bad;
    EXPECT_EQ(noise->AddTo(random, absl::MakeSpan(sum)).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(sum.front(), 0.25f);
  }
}

TEST(LocalNoiseTest, FloatSumsNeedSlackThatCoversTheirError) {
  // Values that round in float at each addition, in one coordinate.
  constexpr int kCount = 200;
  float sum = 0;
  double exact = 0;
  for (int i = 0; i < kCount; ++i) {
    const float value = 1.0f - 1e-7f * static_cast<float>(i % 3);
    sum += value;
    exact += value;
  }
  EXPECT_LE(std::abs(sum - exact) * 2, FloatSumSlack(1, kCount));
  EXPECT_NEAR(FloatSumSlack(1, 32), 6.3e-5, 1e-6);
  EXPECT_EQ(FloatSumSlack(1, 0), 0);
}

TEST(LocalNoiseTest, OptionsThatCannotBeAreRefused) {
  const LocalNoiseOptions good{.clip = 1, .noise_multiplier = 1, .dimensions = 10};
  EXPECT_TRUE(LocalNoise::Create(good).ok());
  for (const double bad : {0.0, -1.0, double{NAN}, HUGE_VAL, 1e-300}) {
    LocalNoiseOptions options = good;
    options.clip = bad;
    EXPECT_FALSE(LocalNoise::Create(options).ok()) << bad;
  }
  for (const double bad : {0.0, -1.0, double{NAN}, HUGE_VAL}) {
    LocalNoiseOptions options = good;
    options.noise_multiplier = bad;
    EXPECT_FALSE(LocalNoise::Create(options).ok()) << bad;
  }
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, kDimensionsMax + 1}) {
    LocalNoiseOptions options = good;
    options.dimensions = bad;
    EXPECT_FALSE(LocalNoise::Create(options).ok()) << bad;
  }
  LocalNoiseOptions options = good;
  options.sum_slack = -1;
  EXPECT_FALSE(LocalNoise::Create(options).ok());
}

}  // namespace
}  // namespace consilium::dp
