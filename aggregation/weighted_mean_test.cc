#include "aggregation/weighted_mean.h"

#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace consilium::aggregation {
namespace {

void FoldWhole(WeightedMean& mean, const std::vector<float>& values, int64_t weight_milli) {
  ASSERT_TRUE(mean.Begin(weight_milli).ok());
  mean.Fold(0, values);
}

TEST(WeightedMeanTest, MatchesTheFormula) {
  WeightedMean mean(2);
  FoldWhole(mean, {1.0f, -2.0f}, 3000);
  FoldWhole(mean, {5.0f, 2.0f}, 1000);
  std::vector<float> base = {10.0f, 20.0f};
  ASSERT_TRUE(mean.AddMeanTo(absl::MakeSpan(base)).ok());
  EXPECT_FLOAT_EQ(base[0], 12.0f);
  EXPECT_FLOAT_EQ(base[1], 19.0f);
}

TEST(WeightedMeanTest, OrderAndBlockSizeDoNotChangeABit) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.01f);
  std::vector<std::vector<float>> updates(5, std::vector<float>(1000));
  for (auto& update : updates) {
    for (float& value : update) value = normal(random);
  }
  WeightedMean forward(1000);
  for (size_t i = 0; i < 5; ++i) FoldWhole(forward, updates[i], 700 + static_cast<int64_t>(i));
  WeightedMean backward(1000);
  for (size_t i = 5; i-- > 0;) {
    ASSERT_TRUE(backward.Begin(700 + static_cast<int64_t>(i)).ok());
    for (size_t at = 0; at < 1000; at += 125) {
      backward.Fold(static_cast<int64_t>(at), absl::MakeConstSpan(updates[i]).subspan(at, 125));
    }
  }
  std::vector<float> a(1000, 1.0f);
  std::vector<float> b(1000, 1.0f);
  ASSERT_TRUE(forward.AddMeanTo(absl::MakeSpan(a)).ok());
  ASSERT_TRUE(backward.AddMeanTo(absl::MakeSpan(b)).ok());
  EXPECT_EQ(a, b);
}

TEST(WeightedMeanTest, HalfAUnitGoesToTheEvenOne) {
  const float unit = 0x1p-32f;
  const std::vector<float> values = {0.5f * unit,  1.5f * unit,  2.5f * unit,   -0.5f * unit,
                                     -1.5f * unit, 1.25f * unit, -1.75f * unit, kUpdateValueMax};
  WeightedMean mean(static_cast<int64_t>(values.size()));
  FoldWhole(mean, values, 1);
  std::vector<float> sum(values.size(), 0.0f);
  ASSERT_TRUE(mean.AddMeanTo(absl::MakeSpan(sum)).ok());
  const std::vector<float> expected = {0,         2 * unit, 2 * unit,  0,
                                       -2 * unit, unit,     -2 * unit, kUpdateValueMax};
  EXPECT_EQ(sum, expected);
}

TEST(WeightedMeanTest, TheLargestAllowedSumDoesNotOverflow) {
  WeightedMean mean(1);
  FoldWhole(mean, {kUpdateValueMax}, kWeightTotalMaxMilli - 1);
  FoldWhole(mean, {kUpdateValueMax}, 1);
  std::vector<float> base = {0};
  ASSERT_TRUE(mean.AddMeanTo(absl::MakeSpan(base)).ok());
  EXPECT_FLOAT_EQ(base[0], kUpdateValueMax);
  EXPECT_EQ(mean.Begin(1).code(), absl::StatusCode::kResourceExhausted);
}

TEST(WeightedMeanTest, RefusesWhatCannotBeAveraged) {
  WeightedMean mean(2);
  EXPECT_FALSE(mean.Begin(0).ok());
  std::vector<float> base(2);
  EXPECT_EQ(mean.AddMeanTo(absl::MakeSpan(base)).code(), absl::StatusCode::kFailedPrecondition);
  FoldWhole(mean, {0, 0}, 1);
  std::vector<float> longer(3);
  EXPECT_EQ(mean.AddMeanTo(absl::MakeSpan(longer)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(mean.AddMeanTo(1, absl::MakeSpan(longer)).code(), absl::StatusCode::kOutOfRange);
}

TEST(CheckUpdateValuesTest, CatchesNanInfinityAndSize) {
  using Limits = std::numeric_limits<float>;
  EXPECT_TRUE(CheckUpdateValues({0.0f, 64.0f, -64.0f}).ok());
  EXPECT_FALSE(CheckUpdateValues({0.0f, Limits::quiet_NaN()}).ok());
  EXPECT_FALSE(CheckUpdateValues({Limits::infinity()}).ok());
  EXPECT_FALSE(CheckUpdateValues({64.1f}).ok());
}

}  // namespace
}  // namespace consilium::aggregation
