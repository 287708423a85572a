#include "site_agent/standalone.h"

#include <cmath>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/infer.h"
#include "site_agent/tiny_model.h"

namespace consilium::agent {
namespace {

class StandaloneTest : public testing::Test {
 protected:
  StandaloneTest() : folder_(*TempDir::Create("alone")) {}
  void SetUp() override { WriteLabelledSeries(At("data"), TinyPlan()); }
  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }
  Environment Env() const { return {.compute = {1, "cpu"}, .progress = {}, .stop = stop_}; }

  TempDir folder_;
  std::atomic<bool> stop_{false};
};

TEST_F(StandaloneTest, TrainsWritesAndMeasures) {
  TrainAloneOptions options{{At("data")}, At("out"), TinyPlan(), {At("data")}};
  const auto result = TrainAlone(options, Env());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps, 3);
  EXPECT_EQ(result->training_cases, 1);
  EXPECT_EQ(result->labelled_cases, 1);
  ASSERT_EQ(result->evaluation.cases.size(), 1u);
  EXPECT_EQ(result->evaluation.cases[0].dice.size(), 2u);

  const auto file = wire::ReadSafetensors(At("out/model.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at(wire::kPlanMetadataKey), wire::PlanToJson(TinyPlan()));
  const auto json = ReadFile(At("out/evaluation.json"), 1 << 20);
  ASSERT_TRUE(json.ok());
  EXPECT_TRUE(nlohmann::json::parse(*json).contains("mean_dice"));
}

TEST_F(StandaloneTest, PatientLevelPrivacyHoldsAloneToo) {
  wire::Plan plan = TinyPlan();
  plan.privacy = {"sample", 4, 1e-3, 1, 8, 0};
  plan.algorithm.kind = "scaffold";  // alone there is nobody to agree with
  TrainAloneOptions options{{At("data")}, At("out"), plan, {}};
  const auto result = TrainAlone(options, Env());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps, 3);
  EXPECT_EQ(result->mean_loss, 0) << "a loss has no noise";
  EXPECT_EQ(wire::ReadSafetensors(At("out/model.safetensors"))->metadata.at(wire::kPlanMetadataKey),
            wire::PlanToJson(plan));
}

TEST_F(StandaloneTest, AnyExportedModelCanBeMeasured) {
  WriteTinyModel(TinyPlan(), At("model.safetensors"));
  const auto evaluation =
      EvaluateOnData(At("model.safetensors"), {At("data")}, At("home"), Env());
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_EQ(evaluation->model_version, "tiny/1");
  ASSERT_EQ(evaluation->cases.size(), 1u);
  EXPECT_EQ(evaluation->structures, (std::vector<std::string>{"Low part", "High part"}));
}

// Training, evaluation on the store and inference on the archive see the same two channels.
TEST_F(StandaloneTest, TwoChannelsFromTrainingToTheSegmentation) {
  WritePetSeries(At("data/pet"));
  wire::Plan plan = TinyPlanWithPet();
  plan.training.steps_per_round = 60;
  plan.training.learning_rate = 0.02;
  TrainAloneOptions options{{At("data")}, At("out"), plan, {At("data")}};
  const auto result = TrainAlone(options, Env());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->training_cases, 1);
  ASSERT_EQ(result->evaluation.cases.size(), 1u);
  const std::vector<double>& dice = result->evaluation.cases[0].dice;
  EXPECT_GT((dice[0] + dice[1]) / 2, 0.8);

  InferOptions infer{At("data"), At("found"), At("out/model.safetensors"), {1, "cpu"}};
  const auto report = Infer(infer, Clock::System(), {}, stop_);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->count(SeriesStatus::kSegmented), 1);
  imaging::TestSeries series;
  series.rows = 20;
  series.columns = 24;
  series.slices = 12;
  ASSERT_TRUE(MakeDirs(At("grid")).ok());
  const auto grid =
      imaging::AssembleSeries(imaging::WriteTestSeries(series, At("grid")))->volume.geometry;
  const auto truth = imaging::ReadSegmentation(At("data/seg.dcm"), grid, plan.labels);
  const auto found =
      imaging::ReadSegmentation(At("found/2.25.12/consilium.seg.dcm"), grid, plan.labels);
  ASSERT_TRUE(truth.ok() && found.ok()) << truth.status() << found.status();
  EXPECT_EQ(DiceByLabel(found->voxels, truth->voxels, 3).value(), dice);
}

TEST_F(StandaloneTest, DataThatFitsNothingIsNotFound) {
  wire::Plan plan = TinyPlan();
  plan.modality = "CT";
  TrainAloneOptions options{{At("data")}, At("out"), plan, {}};
  EXPECT_TRUE(absl::IsNotFound(TrainAlone(options, Env()).status()));
  EXPECT_FALSE(PathExists(At("out/model.safetensors")));
}

TEST_F(StandaloneTest, StopLeavesNoModel) {
  stop_ = true;
  TrainAloneOptions options{{At("data")}, At("out"), TinyPlan(), {}};
  EXPECT_TRUE(absl::IsCancelled(TrainAlone(options, Env()).status()));
  EXPECT_FALSE(PathExists(At("out/model.safetensors")));
}

TEST_F(StandaloneTest, PlanFileMayHaveWhiteSpace) {
  const std::string pretty = nlohmann::json::parse(wire::PlanToJson(TinyPlan())).dump(2) + "\n";
  ASSERT_TRUE(WriteFileAtomic(At("plan.json"), pretty).ok());
  const auto plan = ReadPlanFile(At("plan.json"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(*plan, TinyPlan());
}

TEST(ModelEvaluationTest, MeansLeaveUndefinedOut) {
  const double nan = std::nan("");
  ModelEvaluation evaluation;
  evaluation.structures = {"a", "b", "c"};
  evaluation.cases = {{"x", {0.5, nan, nan}}, {"y", {1.0, 0.25, nan}}};
  EXPECT_DOUBLE_EQ(evaluation.mean(0), 0.75);
  EXPECT_DOUBLE_EQ(evaluation.mean(1), 0.25);
  EXPECT_TRUE(std::isnan(evaluation.mean(2)));
  EXPECT_DOUBLE_EQ(evaluation.mean_of_all(), 0.5);
  EXPECT_NE(EvaluationToJson(evaluation).find("null"), std::string::npos);
}

}  // namespace
}  // namespace consilium::agent
