#include "site_agent/round/private_run.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

constexpr int64_t kParameters = 4096;

std::unique_ptr<PrivateRun> MakeRun(int64_t steps = 5) {
  wire::Plan plan;
  plan.privacy = {"sample", 8, 1e-4, 0.5, 3, 0};
  const BudgetPart part = {Mechanism::kDiscreteGaussian, 0.25, 2, steps};
  auto run = PrivateRun::Create(plan, part, kParameters, {"b", "a", "b"}, true);
  EXPECT_TRUE(run.ok()) << run.status();
  return *std::move(run);
}

TEST(PrivateRunTest, RulesAreThePlansAndTheCalibratedNoise) {
  const auto run = MakeRun();
  const training::PrivateTraining rules = run->Rules();
  EXPECT_EQ(rules.clip, 0.5);
  EXPECT_EQ(rules.expected_patients, 3);
  EXPECT_EQ(rules.noise_multiplier, 2);
  EXPECT_EQ(rules.sampling_rate, 0.25);
  EXPECT_EQ(rules.patient_of_case, (std::vector<int64_t>{0, 1, 0})) << "cases of one patient";
  int exponent = 0;
  EXPECT_EQ(std::frexp(rules.grid, &exponent), 0.5) << "a power of two";
}

TEST(PrivateRunTest, DrawsAreUniformAndNoRunRepeatsAnother) {
  const auto one = MakeRun(), other = MakeRun();
  const auto a = one->Rules().uniform, b = other->Rules().uniform;
  double sum = 0;
  int equal = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double draw = a();
    ASSERT_GE(draw, 0);
    ASSERT_LT(draw, 1);
    sum += draw;
    equal += draw == b() ? 1 : 0;
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.02);  // 7 deviations
  EXPECT_EQ(equal, 0);
}

TEST(PrivateRunTest, NoiseHasTheDeviationThatIsAccountedForAndLiesOnTheGrid) {
  const auto run = MakeRun();
  const training::PrivateTraining rules = run->Rules();
  std::vector<float> sum(kParameters, 0.0f);
  rules.add_noise(sum, 1.0);
  double squares = 0;
  for (const float value : sum) {
    ASSERT_EQ(std::remainder(value, rules.grid), 0.0);
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(std::sqrt(squares / kParameters), 2 * 0.5, 0.07);  // 6 deviations
  EXPECT_TRUE(run->status().ok());
}

TEST(PrivateRunTest, ASumThatCannotBeNoisedIsNotUsed) {
  const auto run = MakeRun();
  std::vector<float> sum(kParameters, 0.25f);
  sum[7] = std::numeric_limits<float>::infinity();
  run->Rules().add_noise(sum, 1.0);
  EXPECT_FALSE(run->status().ok());
  for (const float value : sum) ASSERT_TRUE(std::isnan(value));
  EXPECT_TRUE(run->Rules().should_stop_before_step());
}

TEST(PrivateRunTest, StepsEndWhereTheReservationEnds) {
  const auto run = MakeRun(3);
  const training::PrivateTraining rules = run->Rules();
  for (int step = 0; step < 3; ++step) EXPECT_FALSE(rules.should_stop_before_step());
  EXPECT_TRUE(rules.should_stop_before_step());
  EXPECT_EQ(run->steps_begun(), 3);
}

}  // namespace
}  // namespace consilium::agent
