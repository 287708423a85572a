#include "training/loop/private_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

namespace consilium::training {
namespace {

double NormOf(const std::vector<float>& values) {
  double squares = 0;
  for (float v : values) squares += static_cast<double>(v) * v;
  return std::sqrt(squares);
}

std::vector<at::Tensor> Shapes() { return {at::zeros({2, 3}), at::zeros({4})}; }

TEST(ClippedSumTest, BelowTheBoundIsAddedAsItIs) {
  ClippedSum sum(Shapes(), /*clip=*/100, /*grid=*/0);
  sum.Add({at::full({2, 3}, 1.5), at::full({4}, -2.0)});
  sum.Add({at::full({2, 3}, 0.25), at::Tensor()});
  const std::vector<float> flat = sum.Flat();
  ASSERT_EQ(flat.size(), 10u);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(flat[i], i < 6 ? 1.75f : -2.0f);
}

TEST(ClippedSumTest, JointNormIsHeldToTheBound) {
  for (float size : {1e-3f, 1.0f, 1e30f}) {  // its square is beyond float
    ClippedSum sum(Shapes(), /*clip=*/1e-4, /*grid=*/0);
    sum.Add({at::full({2, 3}, size), at::full({4}, 2 * size)});
    EXPECT_NEAR(NormOf(sum.Flat()) / 1e-4, 1.0, 1e-6);
    EXPECT_NEAR(sum.Flat()[9] / sum.Flat()[0], 2.0, 1e-6);
  }
}

TEST(ClippedSumTest, NotFiniteIsRefusedAndNotAdded) {
  ClippedSum sum(Shapes(), 1, 0);
  sum.Add({at::full({2, 3}, 0.1), at::zeros({4})});
  const std::vector<float> before = sum.Flat();
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor gradient = at::zeros({4});
    gradient[2] = bad;
    EXPECT_THROW(sum.Add({at::full({2, 3}, 0.1), gradient}), std::runtime_error);
  }
  EXPECT_EQ(sum.Flat(), before);
}

// What a gradient of few exponents cannot show: sums of values far apart, which float would round.
TEST(ClippedSumTest, OnTheGridASumMovesByExactlyTheContribution) {
  const double clip = 1.0, grid = std::ldexp(1.0, -12);
  ClippedSum others(Shapes(), clip, grid), all(Shapes(), clip, grid), alone(Shapes(), clip, grid);
  at::manual_seed(3);
  for (int i = 0; i < 200; ++i) {
    const std::vector<at::Tensor> gradient = {at::randn({2, 3}), at::randn({4}) * 1e-3};
    others.Add(gradient);
    all.Add(gradient);
  }
  const std::vector<at::Tensor> mine = {at::randn({2, 3}), at::randn({4})};
  all.Add(mine);
  alone.Add(mine);
  const std::vector<float> a = all.Flat(), o = others.Flat(), m = alone.Flat();
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i] - o[i], m[i]);
    EXPECT_EQ(std::remainder(static_cast<double>(a[i]), grid), 0.0);
  }
  EXPECT_LE(NormOf(m), clip);
  EXPECT_GT(NormOf(m), 0.99 * clip);
}

TEST(ClippedSumTest, OnTheGridASumStaysWhereFloatIsExact) {
  const double grid = std::ldexp(1.0, -20);
  ClippedSum sum({at::zeros({1})}, /*clip=*/1.0, grid);
  for (int i = 0; i < 40; ++i) sum.Add({at::full({1}, -2.0)});
  EXPECT_EQ(sum.Flat()[0], -16.0f);  // 2^24 grid
}

// The one property of a network that would let a patient past the clipping of the others.
TEST(PrivateStepTest, TheNetworkDoesNotMixTheSamplesOfABatch) {
  NetworkConfig config;
  config.features = {4, 8};
  config.strides = {{1, 1, 1}, {2, 2, 2}};
  const Unet3d network(config, 1, at::kCPU);
  const at::Tensor first = at::randn({1, 1, 8, 8, 8}), second = at::randn({1, 1, 8, 8, 8});
  at::NoGradGuard no_grad;
  const at::Tensor both = network.Forward(at::cat({first, second * 50 + 3}));
  EXPECT_LT((both.narrow(0, 0, 1) - network.Forward(first)).abs().max().item<double>(), 1e-5);
  for (const NamedTensor& parameter : network.parameters()) {
    EXPECT_EQ(parameter.name.find("running"), std::string::npos);
  }
}

}  // namespace
}  // namespace consilium::training
