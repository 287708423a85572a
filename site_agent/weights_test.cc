#include "site_agent/weights.h"

#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

std::vector<training::NamedArray> SomeArrays() {
  return {{"a.weight", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"scale", {}, {7}}, {"b.bias", {2}, {8, 9}}};
}

TEST(WeightsTest, ArraysSurviveTheRoundTrip) {
  auto map = TensorMapFromArrays(SomeArrays());
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->values, (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  const auto arrays = ArraysFromTensorMap(*std::move(map));
  const auto expected = SomeArrays();
  ASSERT_EQ(arrays.size(), expected.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    EXPECT_EQ(arrays[i].name, expected[i].name);
    EXPECT_EQ(arrays[i].shape, expected[i].shape);
    EXPECT_EQ(arrays[i].values, expected[i].values);
  }
}

TEST(WeightsTest, LayoutIsThatOfTheArrays) {
  const wire::TensorLayout layout = LayoutOf(SomeArrays());
  EXPECT_EQ(layout.Canonical(), "a.weight\tF32\t2,3\nscale\tF32\t\nb.bias\tF32\t2\n");
}

TEST(WeightsTest, ArrayThatDoesNotFillItsShapeIsRefused) {
  auto arrays = SomeArrays();
  arrays[0].values.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(TensorMapFromArrays(std::move(arrays)).status()));
}

TEST(WeightsTest, RepeatedNameIsRefused) {
  auto arrays = SomeArrays();
  arrays[2].name = arrays[0].name;
  EXPECT_TRUE(absl::IsInvalidArgument(TensorMapFromArrays(std::move(arrays)).status()));
}

}  // namespace
}  // namespace consilium::agent
