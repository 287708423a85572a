#include "aggregation/update_check.h"

#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/bytes.h"

namespace consilium::aggregation {
namespace {

using ::testing::HasSubstr;
using FloatLimits = std::numeric_limits<float>;

std::vector<float> RandomUpdate(size_t parameters) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 0.01f);
  std::vector<float> update(parameters);
  for (float& value : update) value = normal(random);
  return update;
}

absl::StatusOr<UpdateFacts> Check(const UpdateLimits& limits, const std::vector<float>& values,
                                  size_t block = 1000) {
  UpdateCheck check(limits);
  for (size_t at = 0; at < values.size(); at += block) {
    const absl::Status status = check.Add(absl::MakeConstSpan(values).subspan(at, block));
    if (!status.ok()) return status;
  }
  return check.Finish();
}

std::string ReasonOf(const UpdateLimits& limits, const std::vector<float>& values) {
  const absl::StatusOr<UpdateFacts> facts = Check(limits, values);
  EXPECT_EQ(facts.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(facts.status().message());
}

TEST(UpdateCheckTest, TellsNormLargestValueAndDigest) {
  const absl::StatusOr<UpdateFacts> facts = Check({.parameters = 3}, {2, -3, 6});
  ASSERT_TRUE(facts.ok());
  EXPECT_DOUBLE_EQ(facts->norm, 7);
  EXPECT_EQ(facts->value_max, 6);
  EXPECT_FALSE(facts->all_zero);
  // printf '\x00\x00\x00\x40\x00\x00\x40\xc0\x00\x00\xc0\x40' | sha256sum
  EXPECT_EQ(HexEncode(facts->sha256),
            "87aeb9bfaa6c473c57ed23ccb8decdb48556aa7fec8b67b6e1b5c3b9f9141db4");
}

TEST(UpdateCheckTest, BlocksDoNotChangeABitOfTheFacts) {
  const std::vector<float> update = RandomUpdate(5003);
  const absl::StatusOr<UpdateFacts> whole = Check({.parameters = 5003}, update, 5003);
  ASSERT_TRUE(whole.ok());
  for (const size_t block : {1, 3, 8, 13, 4096}) {
    const absl::StatusOr<UpdateFacts> facts = Check({.parameters = 5003}, update, block);
    ASSERT_TRUE(facts.ok());
    EXPECT_EQ(facts->norm, whole->norm) << block;
    EXPECT_EQ(facts->value_max, whole->value_max);
    EXPECT_EQ(facts->sha256, whole->sha256);
  }
}

TEST(UpdateCheckTest, RefusesOneBadValueWhereverItIs) {
  for (const float bad :
       {FloatLimits::quiet_NaN(), -FloatLimits::quiet_NaN(), FloatLimits::infinity(),
        -FloatLimits::infinity(), 64.1f, -64.1f, FloatLimits::max()}) {
    for (const size_t place : {0, 1, 7, 999, 1000, 2499}) {
      std::vector<float> update = RandomUpdate(2500);
      update[place] = bad;
      EXPECT_THAT(ReasonOf({.parameters = 2500}, update),
                  HasSubstr(std::isfinite(bad) ? "beyond 64" : "not a finite number"));
    }
  }
}

TEST(UpdateCheckTest, StaysFailed) {
  UpdateCheck check({.parameters = 4});
  EXPECT_FALSE(check.Add({FloatLimits::quiet_NaN()}).ok());
  EXPECT_FALSE(check.Add({1, 2, 3, 4}).ok());
  EXPECT_FALSE(check.Finish().ok());
}

TEST(UpdateCheckTest, RefusesAnotherLength) {
  EXPECT_THAT(ReasonOf({.parameters = 3}, {1, 2}), HasSubstr("2 values, the model 3"));
  EXPECT_THAT(ReasonOf({.parameters = 3}, {1, 2, 3, 4}), HasSubstr("more than the model's 3"));
  EXPECT_THAT(ReasonOf({.parameters = 3}, {}), HasSubstr("0 values"));
}

TEST(UpdateCheckTest, RefusesANormAboveTheBound) {
  EXPECT_TRUE(Check({.parameters = 2, .norm_max = 5}, {3, 4}).ok());
  EXPECT_THAT(ReasonOf({.parameters = 2, .norm_max = 4.99}, {3, 4}), HasSubstr("norm 5 is above"));
  EXPECT_FALSE(Check({.parameters = 2, .norm_max = std::nan("")}, {3, 4}).ok());
}

TEST(UpdateCheckTest, AValueBoundCanBeLowerThanTheFoldsButNotHigher) {
  EXPECT_FALSE(Check({.parameters = 1, .value_max = 0.5f}, {0.6f}).ok());
  EXPECT_TRUE(Check({.parameters = 1, .value_max = 0.5f}, {0.5f}).ok());
  EXPECT_FALSE(Check({.parameters = 1, .value_max = 1000}, {65}).ok());
  EXPECT_FALSE(Check({.parameters = 1, .value_max = FloatLimits::quiet_NaN()}, {1}).ok());
}

TEST(UpdateCheckTest, MarksAFreeRiderWithoutRefusingIt) {
  const absl::StatusOr<UpdateFacts> facts = Check({.parameters = 3}, {0, -0.0f, 0});
  ASSERT_TRUE(facts.ok());
  EXPECT_TRUE(facts->all_zero);
  EXPECT_EQ(facts->norm, 0);
  const absl::StatusOr<UpdateFacts> tiny =
      Check({.parameters = 3}, {0, FloatLimits::denorm_min(), 0});
  ASSERT_TRUE(tiny.ok());
  EXPECT_FALSE(tiny->all_zero);
}

TEST(UpdateCheckTest, OnlyACopyHasTheSameDigest) {
  std::vector<float> other = RandomUpdate(100);
  other[99] = std::nextafter(other[99], 1.0f);
  const std::string digest = Check({.parameters = 100}, RandomUpdate(100))->sha256;
  EXPECT_EQ(Check({.parameters = 100}, RandomUpdate(100))->sha256, digest);
  EXPECT_NE(Check({.parameters = 100}, other)->sha256, digest);
}

}  // namespace
}  // namespace consilium::aggregation
