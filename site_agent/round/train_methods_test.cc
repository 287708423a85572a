#include "site_agent/round/train_methods.h"

#include <cmath>

#include "gtest/gtest.h"
#include "site_agent/plan_config.h"
#include "site_agent/round/update_seal.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

using Arrays = std::vector<training::NamedArray>;

wire::Plan SmallPlan() {
  wire::Plan plan;
  plan.study = "s";
  plan.labels = {{1, "Low", ""}};
  plan.network.features = {4, 8};
  plan.network.strides_xyz = {{1, 1, 1}, {2, 2, 2}};
  plan.training.patch_xyz = {8, 8, 8};
  plan.training.batch = 1;
  plan.training.rounds = 2;
  plan.training.steps_per_round = 2;
  plan.training.semi_supervised = "none";
  return plan;
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

std::unique_ptr<training::Session> SessionOf(const wire::Plan& plan) {
  auto session = MakeSession(SessionOptionsFor(plan, {1, "cpu"}));
  EXPECT_TRUE(session.ok()) << session.status();
  return *std::move(session);
}

Arrays Global() { return *ExportWeights(*SessionOf(SmallPlan())); }
wire::TensorMap Base() { return *TensorMapFromArrays(Global()); }

RoundEnd Train(const wire::Plan& plan, StudyArrays own = {}, Arrays control = {}) {
  const CaseSet cases = {{true}, [](int64_t) { return SomeCase(); }};
  const auto session = SessionOf(plan);
  auto end = TrainByPlan(*session, plan, {Global(), std::move(own), std::move(control)}, cases,
                         RoundOptionsFor(plan, 1, "site-a"), {}, nullptr);
  EXPECT_TRUE(end.ok()) << end.status();
  return *std::move(end);
}

wire::TensorMap Update(const wire::Plan& plan, RoundEnd end) {
  auto update = UpdateOf(plan, end, Base());
  EXPECT_TRUE(update.ok()) << update.status();
  return *std::move(update);
}

double Norm(absl::Span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

std::vector<float> Flat(const Arrays& arrays) {
  return TensorMapFromArrays(Arrays(arrays))->values;
}

TEST(TrainMethodsTest, LocalLayersStayAndTheRestIsSent) {
  wire::Plan plan = SmallPlan();
  plan.algorithm.local_layers = {Global()[0].name};
  const RoundEnd first = Train(plan);
  ASSERT_EQ(first.made.local.size(), 1u);
  EXPECT_NE(first.made.local[0].values, Global()[0].values) << "they train";
  const wire::TensorMap update = Update(plan, first);
  EXPECT_EQ(update.layout, Base().layout);
  EXPECT_EQ(Norm(update.tensor(0)), 0);
  EXPECT_GT(Norm(update.values), 0);
  // The next round goes on with the site's own.
  const RoundEnd second = Train(plan, {.local = first.made.local, .personal = {}, .control = {}});
  EXPECT_NE(second.made.local[0].values, first.made.local[0].values);
  EXPECT_NE(second.weights[1].values, first.weights[1].values);
}

TEST(TrainMethodsTest, ControlVariatesChangeFollowsTheWeights) {
  wire::Plan plan = SmallPlan();
  plan.algorithm.kind = "scaffold";
  plan.training.learning_rate = 0.05;
  const RoundEnd first = Train(plan);
  const wire::TensorMap update = Update(plan, first);
  const wire::TensorLayout model = Base().layout;
  ASSERT_EQ(update.layout.tensors.size(), 2 * model.tensors.size());
  EXPECT_EQ(update.layout.tensors[model.tensors.size()].name, "control." + model.tensors[0].name);
  EXPECT_EQ(ModelTensors(update.layout), model.tensors.size());
  EXPECT_EQ(ModelLayoutSha256(update.layout), ModelLayoutSha256(model));
  const size_t parameters = Base().values.size();
  const absl::Span<const float> all = update.values;
  const std::vector<float> made = Flat(first.made.control);
  EXPECT_EQ(std::vector<float>(all.begin() + static_cast<ptrdiff_t>(parameters), all.end()), made)
      << "from zeros";
  EXPECT_GT(Norm(made), 0);

  Arrays server = first.made.control;
  for (training::NamedArray& array : server) {
    for (float& value : array.values) value *= 0.5f;
  }
  const RoundEnd second =
      Train(plan, {.local = {}, .personal = {}, .control = first.made.control}, server);
  EXPECT_NE(second.weights[0].values, first.weights[0].values) << "the correction is at work";
  const wire::TensorMap next = Update(plan, second);
  const std::vector<float> after = Flat(second.made.control);
  for (size_t i = 0; i < parameters; ++i) {
    ASSERT_FLOAT_EQ(next.values[parameters + i], after[i] - made[i]);
  }
}

TEST(TrainMethodsTest, WithoutAServersVariateTheSitesOwnIsZeroToo) {
  wire::Plan plan = SmallPlan();
  plan.algorithm.kind = "scaffold";
  const RoundEnd first = Train(plan);
  const RoundEnd again = Train(plan, {.local = {}, .personal = {}, .control = first.made.control});
  EXPECT_EQ(Flat(again.weights), Flat(first.weights));
  EXPECT_TRUE(again.control_before.empty());
}

TEST(TrainMethodsTest, ThePersonalModelLeavesTheSharedOneAlone) {
  wire::Plan plan = SmallPlan();
  const RoundEnd plain = Train(plan);
  EXPECT_TRUE(plain.made.personal.empty());
  plan.algorithm.personal_lambda = 0.1;
  const RoundEnd first = Train(plan);
  EXPECT_EQ(Flat(first.weights), Flat(plain.weights));
  ASSERT_FALSE(first.made.personal.empty());
  EXPECT_NE(Flat(first.made.personal), Flat(Global()));
  const RoundEnd second =
      Train(plan, {.local = {}, .personal = first.made.personal, .control = {}});
  EXPECT_NE(Flat(second.made.personal), Flat(first.made.personal)) << "it goes on";
}

TEST(TrainMethodsTest, TheProximalTermIsThePlans) {
  wire::Plan plan = SmallPlan();
  const std::vector<float> plain = Flat(Train(plan).weights);
  plan.algorithm.proximal_mu = 100;
  EXPECT_EQ(Flat(Train(plan).weights), plain) << "fedavg has none";
  plan.algorithm.kind = "fedprox";
  EXPECT_NE(Flat(Train(plan).weights), plain);
}

TEST(TrainMethodsTest, WeightsAreBoundAndAControlVariateIsNot) {
  wire::Plan plan = SmallPlan();
  plan.algorithm.kind = "scaffold";
  plan.training.learning_rate = 0.05;
  const RoundEnd end = Train(plan);
  const wire::TensorMap free = Update(plan, end);
  const size_t parameters = Base().values.size();
  const double length = Norm(absl::MakeSpan(free.values).subspan(0, parameters));
  plan.protection.norm_max = length / 4;
  const wire::TensorMap bound = Update(plan, end);
  const absl::Span<const float> values = bound.values;
  EXPECT_NEAR(Norm(values.subspan(0, parameters)), length / 4, length * 1e-6);
  EXPECT_FLOAT_EQ(bound.values[5], free.values[5] / 4);
  EXPECT_EQ(Norm(values.subspan(parameters)),
            Norm(absl::MakeSpan(free.values).subspan(parameters)));
  plan.protection.norm_max = length * 2;
  EXPECT_EQ(Update(plan, end).values, free.values);
}

TEST(TrainMethodsTest, WhatCannotBePromisedIsRefused) {
  wire::Plan plan = SmallPlan();
  EXPECT_TRUE(CheckMethods(plan).ok());
  plan.privacy = {"site", 8, 1e-2, 1, 8, 4};
  EXPECT_TRUE(absl::IsInvalidArgument(CheckMethods(plan))) << "sealed";
  plan.protection.kind = "secure-aggregation";
  EXPECT_TRUE(CheckMethods(plan).ok());
  plan.protection.bits = 16;
  EXPECT_FALSE(CheckMethods(plan).ok());
  plan.protection.bits = 32;
  plan.algorithm.kind = "scaffold";
  EXPECT_FALSE(CheckMethods(plan).ok());
  plan.algorithm.kind = "fedavg";
  plan.privacy.noise_multiplier = 0;
  EXPECT_FALSE(CheckMethods(plan).ok());
}

}  // namespace
}  // namespace consilium::agent
