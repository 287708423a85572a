#include "site_agent/round/train_step.h"

#include <cmath>

#include "gtest/gtest.h"
#include "site_agent/plan_config.h"

namespace consilium::agent {
namespace {

// Small enough for a step in milliseconds.
training::SessionOptions TinyOptions() {
  training::SessionOptions options;
  options.network.classes = 2;
  options.network.features = {4, 8};
  options.network.strides = {{1, 1, 1}, {2, 2, 2}};
  options.training.patch = {8, 8, 8};
  options.training.batch = 1;
  options.training.total_steps = 4;
  options.threads = 1;
  options.device = "cpu";
  return options;
}

training::Case SomeCase() {
  training::Case made;
  made.size = {10, 10, 10};
  made.image.resize(1000);
  made.label.resize(1000);
  for (size_t i = 0; i < 1000; ++i) {
    made.label[i] = i % 10 < 5 ? 1 : 0;
    made.image[i] = static_cast<float>(made.label[i]) - 0.5f;
  }
  return made;
}

TEST(TrainStepTest, NegativeChannelCountIsAStatus) {
  training::SessionOptions options = TinyOptions();
  options.network.in_channels = -1;
  EXPECT_FALSE(MakeSession(options).ok());
}

TEST(TrainStepTest, WeightsThatDoNotFitAreInvalid) {
  auto session = MakeSession(TinyOptions());
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE(absl::IsInvalidArgument(ImportWeights(**session, {{"x", {1}, {1}}})));
}

TEST(TrainStepTest, RunTrainsAndPredicts) {
  auto session = MakeSession(TinyOptions());
  ASSERT_TRUE(session.ok()) << session.status();
  const auto before = ExportWeights(**session);
  ASSERT_TRUE(before.ok());
  const CaseSet cases = {{true}, [](int64_t) { return SomeCase(); }};
  training::RunOptions run;
  run.steps = 2;
  int observed = 0;
  const auto result =
      RunSteps(**session, cases, run, [&](const training::StepReport&) { ++observed; }, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps_done, 2);
  EXPECT_EQ(observed, 2);
  const auto after = ExportWeights(**session);
  ASSERT_TRUE(after.ok());
  EXPECT_NE(before->front().values, after->front().values);

  const auto probabilities = PredictVolume(**session, SomeCase());
  ASSERT_TRUE(probabilities.ok()) << probabilities.status();
  EXPECT_EQ(probabilities->size(), 2000u);
}

TEST(TrainStepTest, StopEndsTheRunAtTheNextStep) {
  auto session = MakeSession(TinyOptions());
  ASSERT_TRUE(session.ok());
  const CaseSet cases = {{true}, [](int64_t) { return SomeCase(); }};
  training::RunOptions run;
  run.steps = 1000;
  std::atomic<bool> stop{false};
  const auto result = RunSteps(
      **session, cases, run, [&](const training::StepReport&) { stop = true; }, &stop);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps_done, 1);
}

TEST(TrainStepTest, LoadersErrorComesBackAsItIs) {
  auto session = MakeSession(TinyOptions());
  ASSERT_TRUE(session.ok());
  const CaseSet cases = {{true}, [](int64_t) -> absl::StatusOr<training::Case> {
                           return absl::DataLossError("case 0123456789ab is damaged");
                         }};
  training::RunOptions run;
  run.steps = 1;
  EXPECT_EQ(RunSteps(**session, cases, run, {}, nullptr).status(),
            absl::DataLossError("case 0123456789ab is damaged"));
}

TEST(TrainStepTest, DiceOfDifferentSizesIsAStatus) {
  const std::vector<uint8_t> two = {0, 1}, three = {0, 1, 1};
  EXPECT_TRUE(absl::IsInvalidArgument(DiceByLabel(two, three, 2).status()));
  const auto dice = DiceByLabel(three, three, 3);
  ASSERT_TRUE(dice.ok());
  EXPECT_EQ((*dice)[0], 1.0);
  EXPECT_TRUE(std::isnan((*dice)[1]));
}

}  // namespace
}  // namespace consilium::agent
