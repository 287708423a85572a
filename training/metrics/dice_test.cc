#include "training/metrics/dice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

namespace consilium::training {
namespace {

TEST(DiceTest, CountsOverlapByClass) {
  const std::vector<uint8_t> p = {0, 1, 1, 2, 2, 0}, t = {0, 1, 0, 2, 1, 0};
  const std::vector<double> dice = DiceByClass(p, t, 3);
  ASSERT_EQ(dice.size(), 2u);
  EXPECT_DOUBLE_EQ(dice[0], 2.0 * 1 / (2 + 2));
  EXPECT_DOUBLE_EQ(dice[1], 2.0 * 1 / (2 + 1));
}

TEST(DiceTest, ClassOfNeitherIsUndefinedAndOfOneSideIsZero) {
  const std::vector<uint8_t> p = {0, 1, 0}, t = {0, 0, 0};
  const std::vector<double> dice = DiceByClass(p, t, 3);
  EXPECT_DOUBLE_EQ(dice[0], 0.0);
  EXPECT_TRUE(std::isnan(dice[1]));
  EXPECT_DOUBLE_EQ(MeanDefined(dice), 0.0);
  EXPECT_TRUE(std::isnan(MeanDefined(DiceByClass(t, t, 3))));
}

TEST(DiceTest, BadInputIsRefused) {
  const std::vector<uint8_t> a = {0, 1}, b = {0}, high = {0, 3};
  EXPECT_THROW(DiceByClass(a, b, 2), std::invalid_argument);
  EXPECT_THROW(DiceByClass(a, a, 1), std::invalid_argument);
  EXPECT_THROW(DiceByClass(high, a, 3), std::invalid_argument);
  EXPECT_THROW(DiceByClass(a, high, 3), std::invalid_argument);
}

TEST(ArgmaxTest, TakesTheHighestAndTheLowerOnATie) {
  const std::vector<float> p = {0.2f, 0.4f, 0.5f, 0.7f, 0.4f, 0.2f, 0.1f, 0.2f, 0.3f};
  EXPECT_EQ(ArgmaxByVoxel(p, 3), (std::vector<uint8_t>{1, 0, 0}));
  EXPECT_THROW(ArgmaxByVoxel(p, 2), std::invalid_argument);
  EXPECT_THROW(ArgmaxByVoxel({}, 2), std::invalid_argument);
}

}  // namespace
}  // namespace consilium::training
