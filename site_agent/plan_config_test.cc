#include "site_agent/plan_config.h"

#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

wire::Plan SomePlan() {
  wire::Plan plan;
  plan.study = "hippocampus";
  plan.labels = {{1, "Anterior", ""}, {2, "Posterior", ""}};
  plan.network.features = {8, 16};
  plan.network.strides_xyz = {{1, 1, 1}, {2, 3, 4}};
  plan.training.patch_xyz = {40, 56, 32};
  plan.training.mirror_xyz = {true, false, false};
  plan.training.rounds = 5;
  plan.training.steps_per_round = 7;
  plan.training.seed = 42;
  return plan;
}

TEST(PlanConfigTest, AxesTurnRound) {
  const auto options = SessionOptionsFor(SomePlan(), {2, "cpu"});
  EXPECT_EQ(options.training.patch, (training::SizeDhw{32, 56, 40}));
  EXPECT_EQ(options.network.strides[1], (training::SizeDhw{4, 3, 2}));
  EXPECT_EQ(options.training.mirror_dhw, (std::array<bool, 3>{false, false, true}));
}

TEST(PlanConfigTest, ScheduleSpansTheStudy) {
  const wire::Plan plan = SomePlan();
  const auto session = SessionOptionsFor(plan, {2, "cpu"});
  EXPECT_EQ(session.training.total_steps, 35);
  EXPECT_EQ(session.network.classes, 3);
  EXPECT_EQ(session.network.features, plan.network.features);
  EXPECT_EQ(session.threads, 2);
  EXPECT_EQ(session.device, "cpu");
  EXPECT_EQ(session.init_seed, 42u);
  EXPECT_EQ(RoundOptionsFor(plan, 1, "site-a").start_step, 0);
  EXPECT_EQ(RoundOptionsFor(plan, 3, "site-a").start_step, 14);
  EXPECT_EQ(RoundOptionsFor(plan, 3, "site-a").steps, 7);
}

TEST(PlanConfigTest, WithoutSemiSupervisionThereIsNoConsistency) {
  wire::Plan plan = SomePlan();
  EXPECT_GT(SessionOptionsFor(plan, {}).training.consistency_weight, 0);
  plan.training.semi_supervised = "none";
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.consistency_weight, 0);
}

TEST(PlanConfigTest, AlgorithmsAreThePlans) {
  wire::Plan plan = SomePlan();
  plan.algorithm.proximal_mu = 0.5;
  using Optimiser = training::TrainingConfig::Optimiser;
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.proximal_mu, 0) << "fedavg has no term";
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.optimiser, Optimiser::kAdamW);
  plan.algorithm.kind = "fedprox";
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.proximal_mu, 0.5);
  plan.algorithm.kind = "scaffold";
  plan.algorithm.local_layers = {"*.norm*"};
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.proximal_mu, 0);
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.optimiser, Optimiser::kSgd);
  EXPECT_EQ(SessionOptionsFor(plan, {}).training.local_layers, plan.algorithm.local_layers);
}

TEST(PlanConfigTest, SeedDependsOnSiteRoundAndThePlansSeedAlone) {
  wire::Plan plan = SomePlan();
  const uint64_t seed = RoundOptionsFor(plan, 1, "site-a").seed;
  EXPECT_EQ(seed, RoundOptionsFor(plan, 1, "site-a").seed);
  EXPECT_NE(seed, RoundOptionsFor(plan, 2, "site-a").seed);
  EXPECT_NE(seed, RoundOptionsFor(plan, 1, "site-b").seed);
  plan.study = "another";
  EXPECT_EQ(seed, RoundOptionsFor(plan, 1, "site-a").seed) << "so that studies can be compared";
  plan.training.seed = 43;
  EXPECT_NE(seed, RoundOptionsFor(plan, 1, "site-a").seed);
}

}  // namespace
}  // namespace consilium::agent
