#include "privacy/dp/budget.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/dp/calibrate.h"
#include "privacy/dp/gaussian.h"
#include "privacy/dp/pld_accountant.h"
#include "privacy/dp/rdp_accountant.h"
#include "privacy/dp/test_vectors.h"

namespace consilium::dp {
namespace {

using nlohmann::json;

SampledGaussian Kind(double q, double sigma, int64_t steps) {
  return {.sampling_rate = q, .noise_multiplier = sigma, .steps = steps};
}

TEST(CalibrateTest, VectorsByRdp) {
  CSL_DP_VECTORS_OR_SKIP(vectors);
  for (const json& v : (*vectors)["calibration"]) {
    const PrivacyBudget budget{.epsilon = v["target_epsilon"], .delta = v["delta"]};
    const auto sigma = CalibrateNoise(budget, v["q"], v["steps"], Accountant::kRdp);
    ASSERT_TRUE(sigma.ok()) << sigma.status();
    EXPECT_NEAR(*sigma / v["sigma"].get<double>(), 1, 1e-3) << v.dump();
    EXPECT_LE(EpsilonByRdp({Kind(v["q"], *sigma, v["steps"])}, budget.delta)->epsilon,
              budget.epsilon);
  }
  const json& opacus = (*vectors)["published"][1];
  EXPECT_NEAR(*CalibrateNoise({.epsilon = opacus["target_epsilon"], .delta = opacus["delta"]},
                              opacus["q"], opacus["steps"], Accountant::kRdp),
              opacus["sigma"], opacus["abs_tol"]);
}

TEST(CalibrateTest, TightNoiseIsThatOfThePublishedTableAndKeepsThePromise) {
  struct Row {
    double patients, batch;
    int64_t steps;
    double sigma_eps_1, sigma_eps_8;
  };
  for (const Row& row : {Row{60, 8, 500, 7.75, 1.60}, Row{5000, 64, 4000, 3.01, 0.79}}) {
    const double delta = DefaultDelta(static_cast<int64_t>(row.patients));
    for (const auto& [epsilon, expected] :
         {std::pair(1.0, row.sigma_eps_1), std::pair(8.0, row.sigma_eps_8)}) {
      const double q = row.batch / row.patients;
      const auto sigma = CalibrateNoise({.epsilon = epsilon, .delta = delta}, q, row.steps);
      ASSERT_TRUE(sigma.ok()) << sigma.status();
      // The table was made on a coarser grid of losses.
      EXPECT_NEAR(*sigma / expected, 1, 0.005) << row.patients << " " << epsilon;
      EXPECT_LE(*EpsilonByPld({Kind(q, *sigma, row.steps)}, delta), epsilon);
      EXPECT_GT(*EpsilonByPld({Kind(q, *sigma * (1 - 2e-4), row.steps)}, delta), epsilon);
    }
  }
}

TEST(CalibrateTest, MakesRoomForWhatIsSpent) {
  const PrivacyBudget budget{.epsilon = 4, .delta = 1e-4};
  const SampledGaussian spent = Kind(0.05, 1.5, 500);
  const double alone = *CalibrateNoise(budget, 0.05, 500);
  const double after = *CalibrateNoise(budget, 0.05, 500, Accountant::kPld, {spent});
  EXPECT_GT(after, alone);
  EXPECT_LE(*SpentEpsilon({spent, Kind(0.05, after, 500)}, budget.delta), budget.epsilon);
  EXPECT_EQ(
      CalibrateNoise(budget, 0.05, 500, Accountant::kPld, {Kind(0.5, 1, 5000)}).status().code(),
      absl::StatusCode::kOutOfRange);
}

TEST(CalibrateTest, ExtremesAndErrors) {
  // Below what RDP can prove on its orders, PLD still does.
  EXPECT_EQ(
      CalibrateNoise({.epsilon = 1e-3, .delta = 1e-5}, 0.01, 10, Accountant::kRdp).status().code(),
      absl::StatusCode::kOutOfRange);
  const auto small = CalibrateNoise({.epsilon = 1e-3, .delta = 1e-5}, 0.01, 10);
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_LE(*EpsilonByPld({Kind(0.01, *small, 10)}, 1e-5), 1e-3);
  EXPECT_EQ(*CalibrateNoise({.epsilon = 1, .delta = 1e-5}, 0, 10), kNoiseMultiplierMin);
  EXPECT_FALSE(CalibrateNoise({.epsilon = 0, .delta = 1e-5}, 0.01, 10).ok());
  EXPECT_FALSE(CalibrateNoise({.epsilon = 1, .delta = 0}, 0.01, 10).ok());
  EXPECT_FALSE(CalibrateNoise({.epsilon = 1, .delta = 1e-5}, 2, 10).ok());
  EXPECT_FALSE(CalibrateNoise({.epsilon = 1, .delta = 1e-5}, 0.1, -1).ok());
}

TEST(BudgetTest, DefaultDeltaIsATenthOfAPatient) {
  EXPECT_DOUBLE_EQ(DefaultDelta(1000), 1e-4);
  EXPECT_DOUBLE_EQ(DefaultDelta(100), 1e-3);
  EXPECT_DOUBLE_EQ(DefaultDelta(5), 1e-3);
  EXPECT_DOUBLE_EQ(DefaultDelta(0), 1e-3);
}

TEST(BudgetTest, ExactlyTheStepsThatFit) {
  const PrivacyBudget budget{.epsilon = 3, .delta = 1e-4};
  const std::vector<SampledGaussian> spent = {Kind(0.02, 1.1, 300), Kind(0.05, 2, 100)};
  const SampledGaussian next = Kind(0.03, 1.3, 0);
  for (const Accountant accountant : {Accountant::kPld, Accountant::kRdp}) {
    const auto steps = StepsThatFit(spent, next, budget, accountant);
    ASSERT_TRUE(steps.ok()) << steps.status();
    ASSERT_GT(*steps, 10);
    std::vector<SampledGaussian> all = spent;
    all.push_back(Kind(0.03, 1.3, *steps));
    EXPECT_LE(*SpentEpsilon(all, budget.delta, accountant), budget.epsilon);
    all.back().steps = *steps + 1;
    EXPECT_GT(*SpentEpsilon(all, budget.delta, accountant), budget.epsilon);
  }
  EXPECT_GT(*StepsThatFit(spent, next, budget),
            *StepsThatFit(spent, next, budget, Accountant::kRdp));
}

TEST(BudgetTest, AnExhaustedBudgetHasNoSteps) {
  const std::vector<SampledGaussian> spent = {Kind(0.1, 1, 2000)};
  const double epsilon = *SpentEpsilon(spent, 1e-4);
  EXPECT_EQ(*StepsThatFit(spent, Kind(0.1, 1, 0), {.epsilon = epsilon * 0.99, .delta = 1e-4}), 0);
  EXPECT_EQ(*StepsThatFit(spent, Kind(0.1, 1, 0), {.epsilon = epsilon, .delta = 1e-4}), 0);
  EXPECT_GT(*StepsThatFit(spent, Kind(0.1, 1, 0), {.epsilon = epsilon * 1.01, .delta = 1e-4}), 0);
  // One step alone is too much.
  EXPECT_EQ(*StepsThatFit({}, Kind(1, 0.1, 0), {.epsilon = 1, .delta = 1e-4}), 0);
  EXPECT_EQ(*StepsThatFit({}, Kind(0, 1, 0), {.epsilon = 1, .delta = 1e-4}), kStepsMax);
}

TEST(BudgetTest, TinyDeltaFallsBackToRdp) {
  const std::vector<SampledGaussian> spent = {Kind(0.01, 1, 1000)};
  EXPECT_DOUBLE_EQ(*SpentEpsilon(spent, 1e-14), EpsilonByRdp(spent, 1e-14)->epsilon);
}

TEST(BudgetTest, ManyKindsAreCoarsenedUpwards) {
  std::vector<SampledGaussian> spent;
  for (int i = 0; i < 300; ++i) {
    spent.push_back(Kind(0.01 + 1e-5 * i, 1 + 1e-3 * i, 3));
  }
  const auto kinds = CoarsenParts(spent, kKindsMax);
  ASSERT_TRUE(kinds.ok());
  EXPECT_LE(kinds->size(), kKindsMax);
  int64_t steps = 0;
  for (const SampledGaussian& kind : *kinds) steps += kind.steps;
  EXPECT_EQ(steps, 900);
  const double exact = EpsilonByRdp(spent, 1e-4)->epsilon;
  const double coarse = EpsilonByRdp(*kinds, 1e-4)->epsilon;
  EXPECT_GE(coarse, exact);
  EXPECT_LE(coarse, exact * 1.05);
  EXPECT_EQ(CoarsenParts({Kind(0.1, 1, 5), Kind(0.1, 1, 6)}, 1)->front().steps, 11);
  const auto one = CoarsenParts({Kind(0.1, 0.5, 5), Kind(1e-6, 300, 6), Kind(0.9, 2, 1)}, 1);
  ASSERT_EQ(one->size(), 1u);
  EXPECT_GE(one->front().sampling_rate, 0.9);
  EXPECT_LE(one->front().noise_multiplier, 0.5);
  EXPECT_EQ(one->front().steps, 12);
}

TEST(BudgetTest, ErrorsAreStatuses) {
  EXPECT_FALSE(SpentEpsilon({Kind(0.1, 1, -5)}, 1e-4).ok());
  EXPECT_FALSE(SpentEpsilon({}, 0).ok());
  EXPECT_FALSE(StepsThatFit({}, Kind(0.1, 0, 0), {.epsilon = 1, .delta = 1e-4}).ok());
  EXPECT_FALSE(StepsThatFit({}, Kind(0.1, 1, 0), {.epsilon = NAN, .delta = 1e-4}).ok());
  EXPECT_FALSE(StepsThatFit({}, Kind(0.1, 1, 0), {.epsilon = 1, .delta = 2}).ok());
}

}  // namespace
}  // namespace consilium::dp
