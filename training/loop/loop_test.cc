#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "training/loop/adamw.h"
#include "training/loop/mean_teacher.h"
#include "training/loop/schedule.h"

namespace consilium::training {
namespace {

NetworkConfig Tiny() {
  NetworkConfig config;
  config.features = {4, 8};
  config.strides = {{1, 1, 1}, {2, 2, 2}};
  return config;
}

TEST(ScheduleTest, PolynomialRateEqualsTheOracle) {
  EXPECT_DOUBLE_EQ(PolynomialRate(0.01, 0, 1000), 0.01);
  EXPECT_NEAR(PolynomialRate(0.01, 250, 1000), 0.007718895067235705, 1e-15);
  EXPECT_NEAR(PolynomialRate(0.01, 999, 1000), 1.995262314968881e-05, 1e-15);
  EXPECT_EQ(PolynomialRate(0.01, 1000, 1000), 0.0);
  EXPECT_EQ(PolynomialRate(0.01, 2000, 1000), 0.0);
}

TEST(ScheduleTest, EmaDecayEqualsTheOracle) {
  EXPECT_EQ(EmaDecay(0, 0.99), 0.0);
  EXPECT_EQ(EmaDecay(1, 0.99), 0.5);
  EXPECT_NEAR(EmaDecay(98, 0.99), 0.98989898989899, 1e-14);
  EXPECT_EQ(EmaDecay(1000, 0.99), 0.99);
}

TEST(MeanTeacherTest, MovingAverageFollowsTheRule) {
  Unet3d student(Tiny(), 1, at::kCPU);
  MeanTeacher teacher(student, MeanTeacher::Kind::kMovingAverage);
  const float before = ExportFrom(student)[0].values[0];
  {
    at::NoGradGuard no_grad;
    student.tensors()[0].add_(1.0);
  }
  teacher.Follow(student, 0.75);
  EXPECT_NEAR(ExportFrom(teacher.network())[0].values[0], before + 0.25, 1e-6);
  EXPECT_NEAR(ExportFrom(student)[0].values[0], before + 1.0, 1e-6);
}

TEST(MeanTeacherTest, FrozenStaysAndRecordsNoGradient) {
  Unet3d student(Tiny(), 1, at::kCPU);
  MeanTeacher teacher(student, MeanTeacher::Kind::kFrozen);
  const auto before = ExportFrom(teacher.network());
  {
    at::NoGradGuard no_grad;
    student.tensors()[0].add_(1.0);
  }
  teacher.Follow(student, 0.5);
  EXPECT_EQ(ExportFrom(teacher.network())[0].values, before[0].values);
  const at::Tensor p = teacher.Probabilities(at::randn({1, 1, 4, 4, 4}));
  EXPECT_FALSE(p.requires_grad());
  EXPECT_LT((p.sum(1) - 1).abs().max().item<double>(), 1e-5);
}

// Three steps of decoupled AdamW worked out by hand, scalar by scalar.
TEST(AdamWTest, StepsEqualTheFormula) {
  at::Tensor p = at::full({1, 1}, 2.0);
  AdamW optimiser({p}, {.weight_decay = 0.1});
  double x = 2.0, m = 0, v = 0;
  for (int t = 1; t <= 3; ++t) {
    const double g = 0.5 * t - 0.8, rate = 0.01;
    optimiser.Step({at::full({1, 1}, g)}, rate);
    x *= 1 - rate * 0.1;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    x -= rate * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    EXPECT_NEAR(p.item<double>(), x, 1e-6);
  }
}

TEST(AdamWTest, VectorsAreNotDecayed) {
  at::Tensor bias = at::full({3}, 2.0);
  AdamW optimiser({bias}, {.weight_decay = 0.5});
  optimiser.Step({at::zeros({3})}, 0.1);
  EXPECT_TRUE(at::equal(bias, at::full({3}, 2.0)));
}

TEST(ClipTest, JointNormIsBoundedAndReported) {
  std::vector<at::Tensor> gradients = {at::full({2}, 3.0), at::full({1}, std::sqrt(7.0))};
  EXPECT_NEAR(ClipGradients(gradients, 10.0), 5.0, 1e-6);
  EXPECT_NEAR(gradients[0][0].item<double>(), 3.0, 1e-6);
  EXPECT_NEAR(ClipGradients(gradients, 1.0), 5.0, 1e-6);
  EXPECT_NEAR(gradients[0][0].item<double>(), 0.6, 1e-6);
  gradients[1].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(std::isfinite(ClipGradients(gradients, 1.0)));
}

}  // namespace
}  // namespace consilium::training
