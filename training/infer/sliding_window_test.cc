#include "training/infer/sliding_window.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "training/testing/parity.h"

namespace consilium::training {
namespace {

using Weight = SlidingWindowOptions::Weight;

struct WindowCase {
  const char* name;
  SizeDhw image;
  SlidingWindowOptions options;
  size_t windows;
  double sum;
};

const WindowCase kCases[] = {
    {"gauss_50", {50, 41, 37}, {{32, 32, 32}, 0.5}, 12, -92628.03468952596},
    {"const_50", {50, 41, 37}, {{32, 32, 32}, 0.5, Weight::kConstant}, 12, -91193.12609044186},
    {"gauss_aniso", {20, 70, 45}, {{16, 48, 32}, 0.25}, 8, -75178.82178051761},
    {"gauss_pad", {20, 41, 30}, {{32, 32, 32}, 0.5}, 2, -31075.525656692043},
    {"gauss_625", {40, 40, 40}, {{24, 24, 24}, 0.625, Weight::kGaussian, 0.2}, 27,
     -79313.46985704877},
};

TEST(SlidingWindowTest, ResultsEqualMonai) {
  const auto folder = ParityFolder();
  if (!folder) GTEST_SKIP() << "no parity data";
  const at::Tensor w1 = FormulaTensor("sw/w1", {4, 1, 3, 3, 3}, 0.6);
  const at::Tensor w2 = FormulaTensor("sw/w2", {2, 4, 3, 3, 3}, 0.4);
  const auto network = [&](const at::Tensor& x) {
    const at::Tensor hidden = at::leaky_relu(at::conv3d(x, w1, {}, 1, 1), 0.01);
    return at::conv3d(hidden, w2, {}, 1, 1);
  };
  for (const WindowCase& c : kCases) {
    SCOPED_TRACE(c.name);
    const std::string name = std::string("sw/") + c.name;
    const at::Tensor image = FormulaTensor(name, {1, c.image[0], c.image[1], c.image[2]}, 1);
    const at::Tensor out = SlidingWindow(image, c.options, at::kCPU, network);
    EXPECT_NEAR(out.to(at::kDouble).sum().item<double>() / c.sum, 1.0, 1e-5);
    at::Tensor kept = out.unsqueeze(0);
    for (int64_t axis = 2; axis < 5; ++axis) kept = kept.slice(axis, 0, kept.size(axis), 3);
    const at::Tensor expected = ExpectedTensor(*folder, name);
    ASSERT_EQ(kept.sizes(), expected.sizes());
    EXPECT_LT((kept - expected).abs().max().item<double>(), 2e-5);
  }
}

TEST(SlidingWindowTest, WindowsAreMonaisAndTheLastEndsAtTheEdge) {
  const std::vector<SizeDhw> starts = WindowStarts({50, 41, 37}, {{32, 32, 32}, 0.5});
  ASSERT_EQ(starts.size(), 12u);
  EXPECT_EQ(starts[1], (SizeDhw{0, 0, 5}));
  EXPECT_EQ(starts[2], (SizeDhw{0, 9, 0}));
  EXPECT_EQ(starts[11], (SizeDhw{18, 9, 5}));
  EXPECT_EQ(WindowStarts({32, 32, 32}, {{32, 32, 32}, 0.5}).size(), 1u);
}

TEST(SlidingWindowTest, WeightEqualsMonais) {
  const at::Tensor weight = WindowWeight({{32, 32, 32}});
  EXPECT_NEAR(weight.min().item<double>(), 0.0010000000474974513, 1e-9);
  EXPECT_NEAR(weight.max().item<double>(), 0.9768350720405579, 1e-6);
  EXPECT_NEAR(weight.sum().item<double>(), 1023.7825373494998, 0.5);
}

TEST(SlidingWindowTest, IdentityComesBackWhateverTheWindows) {
  const at::Tensor image = at::randn({2, 11, 5, 9});
  std::vector<double> progress;
  const at::Tensor out =
      SlidingWindow(image, {{4, 8, 4}, 0.5}, at::kCPU, [](const at::Tensor& x) { return x; },
                    [&](double done) { progress.push_back(done); });
  EXPECT_LT((out - image).abs().max().item<double>(), 1e-5);
  ASSERT_FALSE(progress.empty());
  EXPECT_DOUBLE_EQ(progress.back(), 1.0);
}

TEST(SlidingWindowTest, OptionsOutOfRangeAreRefused) {
  const auto run = [](const SlidingWindowOptions& options) {
    SlidingWindow(at::zeros({1, 4, 4, 4}), options, at::kCPU,
                  [](const at::Tensor& x) { return x; });
  };
  EXPECT_THROW(run({{4, 4, 4}, 1.0}), std::invalid_argument);
  EXPECT_THROW(run({{0, 4, 4}}), std::invalid_argument);
  EXPECT_THROW(run({{4, 4, 4}, 0.5, Weight::kGaussian, 0.125, 0}), std::invalid_argument);
}

}  // namespace
}  // namespace consilium::training
