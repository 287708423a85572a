#include "site_agent/round/task_runner.h"

#include <algorithm>

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "site_agent/round/test_tasks.h"

namespace consilium::agent {
namespace {

using TaskRunnerTest = TaskTest;

TEST_F(TaskRunnerTest, PrepareCountsTheCohort) {
  const auto finished = Run(Task(TaskKind::kPrepare));
  ASSERT_TRUE(finished.ok()) << finished.status();
  const auto& cohort = std::get<CohortSummary>(finished->result);
  EXPECT_EQ(cohort.cases, 1);
  EXPECT_EQ(cohort.labelled_cases, 1);
  EXPECT_EQ(cohort.held_out_cases, 0) << "too few to hold one out";
  EXPECT_DOUBLE_EQ(cohort.median_spacing_xyz_mm[2], 2);
}

TEST_F(TaskRunnerTest, InitialWeightsAreThoseOfThePlansSeed) {
  const SiteTask task = Task(TaskKind::kInitialise);
  const auto finished = Run(task);
  ASSERT_TRUE(finished.ok()) << finished.status();
  const wire::SafetensorsFile file = Open(task);
  const auto expected = wire::ReadSafetensors(server_.model_path);
  EXPECT_EQ(file.map.values, expected->map.values);
  EXPECT_EQ(file.metadata.at(wire::kPlanMetadataKey), task.plan_json);
  const auto& offer = std::get<UpdateOffer>(finished->result);
  EXPECT_EQ(offer.layout_sha256, privacy::Sha256Hex(expected->map.layout.Canonical()));
  EXPECT_TRUE(offer.base_model_sha256.empty());
}

TEST_F(TaskRunnerTest, TrainingGivesASealedDifference) {
  const SiteTask task = Task(TaskKind::kTrain);
  const auto finished = Run(task);
  ASSERT_TRUE(finished.ok()) << finished.status();
  const auto& offer = std::get<UpdateOffer>(finished->result);
  EXPECT_EQ(offer.summary.steps, 3);
  EXPECT_EQ(offer.labelled_cases, 1);
  EXPECT_EQ(offer.unlabelled_cases, 0);
  EXPECT_EQ(offer.base_model_sha256, task.model.sha256);
  const wire::SafetensorsFile delta = Open(task);
  double largest = 0;
  for (const float value : delta.map.values) largest = std::max(largest, std::abs(double{value}));
  EXPECT_GT(largest, 0);
  EXPECT_LT(largest, 0.1) << "a difference, not weights";
}

TEST_F(TaskRunnerTest, SameTaskGivesTheSameDifference) {
  const SiteTask task = Task(TaskKind::kTrain);
  ASSERT_TRUE(Run(task).ok());
  const std::vector<float> first = Open(task).map.values;
  ASSERT_TRUE(Run(task).ok());
  EXPECT_EQ(Open(task).map.values, first);
  EXPECT_EQ(server_.downloads, 1) << "the model is still there";
}

TEST_F(TaskRunnerTest, EvaluatorMeasuresEveryLabelledCaseAndNeverTrains) {
  SiteTask task = Task(TaskKind::kEvaluate);
  task.role = SiteRole::kEvaluator;
  const auto finished = Run(task);
  ASSERT_TRUE(finished.ok()) << finished.status();
  const auto& cases = std::get<EvaluationResult>(finished->result).cases;
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].dice.size(), 2u);
  EXPECT_EQ(cases[0].case_pseudonym.size(), 12u);

  task = Task(TaskKind::kTrain);
  task.role = SiteRole::kEvaluator;
  EXPECT_TRUE(absl::IsInvalidArgument(Run(task).status()));
}

TEST_F(TaskRunnerTest, StopAndDeadlineEndTheTask) {
  stop_ = true;
  EXPECT_TRUE(absl::IsCancelled(Run(Task(TaskKind::kTrain)).status()));
  stop_ = false;
  SiteTask late = Task(TaskKind::kTrain);
  late.deadline = -absl::Seconds(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Run(late).status()));
}

TEST_F(TaskRunnerTest, TrainingEndsWhenTheCoordinatorHasMovedOn) {
  server_.progress_answer = absl::FailedPreconditionError("round 1 is over");
  SiteTask task = Task(TaskKind::kTrain);
  task.plan.training.steps_per_round = 100'000;
  EXPECT_EQ(Run(task).status().code(), absl::StatusCode::kAborted);
}

TEST_F(TaskRunnerTest, CohortWithoutACaseIsSaid) {
  SiteTask task = Task(TaskKind::kTrain);
  task.plan.modality = "CT";
  EXPECT_EQ(Run(task).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace consilium::agent
