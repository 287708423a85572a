// A site's tasks under a plan of two input channels, as a coordinator gives them.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "site_agent/round/test_tasks.h"

namespace consilium::agent {
namespace {

using testing::ElementsAre;
using testing::Pair;

class ChannelTasksTest : public TaskTest {
 protected:
  void SetUp() override {
    TaskTest::SetUp();
    WriteTinyModel(TinyPlanWithPet(), server_.model_path);
  }
  void TakePet(const char* frame_of_reference = "2.25.13") {
    WritePetSeries(At("pet"), frame_of_reference);
    const auto report = Ingest(At("home"), {At("pet")}, IngestOptions(), {}, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->cases_added, 1);
  }
  SiteTask ChannelTask(TaskKind kind) const {
    SiteTask task = Task(kind);
    task.plan = TinyPlanWithPet();
    task.plan_json = wire::PlanToJson(task.plan);
    return task;
  }
  CohortSummary Cohort() {
    const auto finished = Run(ChannelTask(TaskKind::kPrepare));
    EXPECT_TRUE(finished.ok()) << finished.status();
    return std::get<CohortSummary>(finished->result);
  }
};

TEST_F(ChannelTasksTest, CohortCountsCasesAndSaysWhatIsMissing) {
  CohortSummary cohort = Cohort();
  EXPECT_EQ(cohort.cases, 0);
  EXPECT_THAT(cohort.rejected_by_reason,
              ElementsAre(Pair("channel 2 (PT): no series of the patient fits", 1)));
  TakePet();
  cohort = Cohort();
  EXPECT_EQ(cohort.cases, 1);
  EXPECT_EQ(cohort.labelled_cases, 1);
  EXPECT_TRUE(cohort.rejected_by_reason.empty());
  EXPECT_DOUBLE_EQ(cohort.median_spacing_xyz_mm[2], 2) << "of the first channel";
}

TEST_F(ChannelTasksTest, AnotherFrameOfReferenceIsNoCase) {
  TakePet("2.25.99");
  EXPECT_THAT(
      Cohort().rejected_by_reason,
      ElementsAre(Pair("channel 2 (PT) of no case", 1),
                  Pair("channel 2 (PT): no series in the frame of reference of channel 1", 1)));
}

TEST_F(ChannelTasksTest, TrainingTeachesBothChannelsAndEvaluationSeesThem) {
  TakePet();
  const SiteTask train = ChannelTask(TaskKind::kTrain);
  const auto trained = Run(train);
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(std::get<UpdateOffer>(trained->result).labelled_cases, 1);
  const wire::TensorMap delta = Open(train).map;
  const wire::TensorSpec& first = delta.layout.tensors.front();
  ASSERT_EQ(first.shape, (std::vector<int64_t>{4, 2, 3, 3, 3})) << first.name;
  for (size_t channel = 0; channel < 2; ++channel) {
    double change = 0;
    for (size_t out = 0; out < 4; ++out) {
      for (size_t i = 0; i < 27; ++i)
        change += std::abs(delta.values[(2 * out + channel) * 27 + i]);
    }
    EXPECT_GT(change, 0) << channel;
  }

  SiteTask evaluate = ChannelTask(TaskKind::kEvaluate);
  evaluate.role = SiteRole::kEvaluator;
  const auto measured = Run(evaluate);
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_EQ(std::get<EvaluationResult>(measured->result).cases.size(), 1u);
}

}  // namespace
}  // namespace consilium::agent
