#include <gtest/gtest.h>

#include <cmath>

#include "training/loss/consistency.h"
#include "training/loss/dice_ce.h"
#include "training/testing/parity.h"

namespace consilium::training {
namespace {

// Values and gradient norms of MONAI 1.3.1 (manifest.json, "loss").
struct LossCase {
  const char* name;
  DiceCeOptions options;
  double value, gradient_norm, gradient_dot;
};

const LossCase kCases[] = {
    {"dice", {.ce_weight = 0}, 0.715711772441864, 0.0033473840816520997, 0.004664071950795626},
    {"dice_nobg", {.include_background = false, .ce_weight = 0}, 0.7605565190315247,
     0.0036725437202439785, 0.0031985747187621774},
    {"dice_batch", {.batch = true, .ce_weight = 0}, 0.7090206742286682, 0.0035271271413828405,
     0.004905059022372633},
    {"dicece", {}, 2.624929666519165, 0.021478154243669098, 0.00793847990796335},
};

TEST(DiceCeTest, ValuesAndGradientsEqualMonai) {
  const auto folder = ParityFolder();
  if (!folder) GTEST_SKIP() << "no parity data";
  const at::Tensor labels = ExpectedTensor(*folder, "loss/label").squeeze(1).to(at::kLong);
  for (const LossCase& expected : kCases) {
    SCOPED_TRACE(expected.name);
    at::Tensor logits = FormulaTensor("loss/logits", {2, 3, 12, 11, 10}, 3);
    logits.set_requires_grad(true);
    const at::Tensor loss = DiceCeLoss(logits, labels, expected.options);
    loss.backward();
    EXPECT_NEAR(loss.item<double>(), expected.value, 2e-6);
    EXPECT_NEAR(logits.grad().norm().item<double>(), expected.gradient_norm, 1e-6);
    EXPECT_NEAR(FormulaDot(logits.grad(), "grad:loss"), expected.gradient_dot, 1e-6);
  }
}

TEST(DiceCeTest, ConfidentAndRightIsZero) {
  at::Tensor labels = at::zeros({1, 4, 4, 4}, at::kLong);
  labels[0][1].fill_(1);
  const at::Tensor logits = at::stack({(1 - labels) * 40.0, labels * 40.0}, 1).to(at::kFloat);
  EXPECT_NEAR(DiceCeLoss(logits, labels).item<double>(), 0.0, 1e-5);
}

TEST(DiceCeTest, ClassOfNeitherSideCostsNothingInTheBatchForm) {
  const at::Tensor labels = at::zeros({2, 4, 4, 4}, at::kLong);
  const at::Tensor logits = at::stack({at::full({2, 4, 4, 4}, 200.0),
                                       at::full({2, 4, 4, 4}, -200.0)}, 1);
  const double loss =
      DiceCeLoss(logits, labels, {.include_background = false, .batch = true}).item<double>();
  EXPECT_NEAR(loss, 0.0, 1e-5);
}

TEST(ConsistencyTest, RampFollowsTheFormula) {
  EXPECT_DOUBLE_EQ(ConsistencyRamp(0, 100), 0.006737946999085467);
  EXPECT_DOUBLE_EQ(ConsistencyRamp(25, 100), 0.060054667895307945);
  EXPECT_DOUBLE_EQ(ConsistencyRamp(90, 100), 0.951229424500714);
  EXPECT_DOUBLE_EQ(ConsistencyRamp(100, 100), 1.0);
  EXPECT_DOUBLE_EQ(ConsistencyRamp(500, 100), 1.0);
  EXPECT_DOUBLE_EQ(ConsistencyRamp(0, 0), 1.0);
}

TEST(ConsistencyTest, ValueIsTheMeanSquareAndOnlyTheStudentLearns) {
  at::Tensor student = at::zeros({1, 2, 1, 1, 2}).set_requires_grad(true);
  at::Tensor teacher = at::full({1, 2, 1, 1, 2}, 0.5).set_requires_grad(true);
  EXPECT_DOUBLE_EQ(ConsistencyLoss(student, teacher).item<double>(), 0.0);
  const at::Tensor certain = at::cat({at::ones({1, 1, 1, 1, 2}), at::zeros({1, 1, 1, 1, 2})}, 1);
  const at::Tensor loss = ConsistencyLoss(student, certain + 0 * teacher);
  EXPECT_DOUBLE_EQ(loss.item<double>(), 0.25);
  loss.backward();
  EXPECT_TRUE(student.grad().defined());
  EXPECT_FALSE(teacher.grad().defined());
}

TEST(ConsistencyTest, SharpenKeepsASumOfOneAndTheOrder) {
  const at::Tensor p = at::tensor({0.6f, 0.3f, 0.1f}).view({1, 3, 1, 1, 1});
  const at::Tensor sharp = Sharpen(p, 0.5);
  EXPECT_NEAR(sharp.sum().item<double>(), 1.0, 1e-6);
  EXPECT_NEAR(sharp.flatten()[0].item<double>(), 0.36 / 0.46, 1e-5);
  EXPECT_TRUE(at::equal(Sharpen(p, 1.0), p));
}

}  // namespace
}  // namespace consilium::training
