#include "coordinator/round/planner.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using Stride = std::array<int64_t, 3>;

StudySpec Spec() {
  StudySpec spec;
  spec.name = "hippo";
  spec.labels = {{1, "Anterior", ""}, {2, "Posterior", ""}};
  return spec;
}

CohortRecord Site(const char* name, int64_t cases, int64_t labelled, std::vector<double> spacing,
                  std::vector<double> size) {
  CohortRecord site;
  site.site = name;
  site.cases = cases;
  site.labelled_cases = labelled;
  site.held_out_cases = labelled / 5;
  site.median_spacing_xyz_mm = std::move(spacing);
  site.median_size_xyz = std::move(size);
  return site;
}

TEST(PlannerTest, HippocampusGoldenCase) {
  const auto plan = MakePlan(Spec(), {Site("a", 87, 44, {1, 1, 1}, {36, 50, 35}),
                                      Site("b", 87, 18, {1, 1, 1}, {36, 50, 36}),
                                      Site("c", 86, 0, {1, 1, 1}, {35, 51, 36})});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->spacing_xyz_mm, (std::array<double, 3>{1, 1, 1}));
  EXPECT_EQ(plan->training.patch_xyz, (Stride{40, 56, 40}));
  EXPECT_EQ(plan->network.features, (std::vector<int64_t>{16, 32, 64, 128}));
  EXPECT_EQ(plan->network.strides_xyz,
            (std::vector<Stride>{{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}}));
  // (79 + 84 + 86) / 3 = 83 cases, batch 2.
  EXPECT_EQ(plan->training.steps_per_round, 42);
  EXPECT_EQ(plan->training.consistency_rampup_steps, 20 * 42 * 2 / 5);
}

TEST(PlannerTest, SpacingIsTheMedianWeightedByCases) {
  const auto plan = MakePlan(Spec(), {Site("a", 10, 10, {0.5, 0.5, 1}, {200, 200, 40}),
                                      Site("b", 100, 10, {1, 1, 3}, {100, 100, 30}),
                                      Site("c", 10, 10, {2, 2, 5}, {50, 50, 20})});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->spacing_xyz_mm, (std::array<double, 3>{1, 1, 3}));
  EXPECT_EQ(plan->training.patch_xyz[0], 96) << "clipped";
}

TEST(PlannerTest, ShortAxesAreHalvedLessAndLast) {
  const auto plan = MakePlan(Spec(), {Site("a", 10, 10, {1, 1, 5}, {64, 64, 9})});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->network.strides_xyz,
            (std::vector<Stride>{{1, 1, 1}, {2, 2, 1}, {2, 2, 1}, {2, 2, 2}}));
  EXPECT_EQ(plan->training.patch_xyz, (Stride{64, 64, 10}));
}

TEST(PlannerTest, WhatTheStudyFixesStays) {
  StudySpec spec = Spec();
  spec.plan.patch_xyz = Stride{32, 32, 12};
  spec.plan.steps_per_round = 7;
  spec.plan.features = {8, 16, 32};
  const auto plan = MakePlan(spec, {Site("a", 10, 10, {1, 1, 1}, {64, 64, 64})});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->training.patch_xyz, (Stride{32, 32, 12}));
  EXPECT_EQ(plan->training.steps_per_round, 7);
  EXPECT_EQ(plan->network.strides_xyz.size(), 3u);
}

TEST(PlannerTest, TinyAndHugeImagesStillGiveAValidPlan) {
  for (const double size : {1.0, 3.0, 7.0, 9.0, 15.0, 33.0, 97.0, 2000.0}) {
    const auto plan = MakePlan(Spec(), {Site("a", 1, 1, {1, 1, 1}, {size, size, size})});
    EXPECT_TRUE(plan.ok()) << size << ": " << plan.status();
  }
  EXPECT_TRUE(wire::CheckPlan(ProvisionalPlan(Spec())).ok());
}

TEST(PlannerTest, NoCasesIsAFailureThatSaysSo) {
  EXPECT_TRUE(absl::IsFailedPrecondition(MakePlan(Spec(), {}).status()));
}

}  // namespace
}  // namespace consilium::coordinator
