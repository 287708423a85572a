#include "site_agent/round/task_runner.h"

#include <atomic>
#include <filesystem>

#include "gtest/gtest.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/tiny_model.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

// Hands out one model file; everything else is taken and forgotten.
class ModelServer final : public Federation {
 public:
  absl::Status Hello() override { return absl::OkStatus(); }
  absl::StatusOr<NextAnswer> NextTask(absl::Duration, const std::vector<std::string>&) override {
    return NextAnswer();
  }
  absl::Status ReportCohort(const std::string&, const CohortSummary&) override {
    return absl::OkStatus();
  }
  absl::Status DownloadModel(const ModelRef&, const std::string& path,
                             const ByteProgress&) override {
    ++downloads;
    std::error_code error;
    fs::copy_file(model_path, path, error);
    return error ? absl::UnavailableError("no model") : absl::OkStatus();
  }
  absl::StatusOr<UploadOutcome> Upload(const TaskKey&, const UpdateOffer&, const std::string&,
                                       const ByteProgress&) override {
    return UploadOutcome{true, ""};
  }
  absl::Status ReportProgress(const TaskProgress&) override { return progress_answer; }
  absl::Status Decline(const std::string&, const std::string&) override { return absl::OkStatus(); }
  absl::Status ReportEvaluation(const std::string&, const EvaluationResult&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<AgreementReply> AgreeKeys(const std::string&, const SiteKeys&,
                                           const SiteShares*) override {
    return absl::UnimplementedError("no secure aggregation here");
  }
  absl::Status SubmitConsent(const std::string&, const ConsentResult&) override {
    return absl::OkStatus();
  }
  absl::Status SubmitReveal(const std::string&, const RevealResult&) override {
    return absl::OkStatus();
  }
  std::string model_path;
  int downloads = 0;
  absl::Status progress_answer;
};

class TaskRunnerTest : public testing::Test {
 protected:
  TaskRunnerTest() : folder_(*TempDir::Create("tasks")), key_(privacy::GenerateHpkeKeyPair()) {}
  void SetUp() override {
    WriteLabelledSeries(At("archive"), TinyPlan());
    const auto report = Ingest(At("home"), {At("archive")}, IngestOptions(), {}, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->cases_added_labelled, 1);
    auto spool = Spool::Open(At("home"));
    ASSERT_TRUE(spool.ok());
    spool_ = std::make_unique<Spool>(*std::move(spool));
    server_.model_path = At("model.safetensors");
    WriteTinyModel(TinyPlan(), server_.model_path);
  }
  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }

  SiteTask Task(TaskKind kind) const {
    SiteTask task;
    task.task_id = std::string("tiny/1/") + TaskKindName(kind);
    task.kind = kind;
    task.study = "tiny";
    task.round = 1;
    task.plan = TinyPlan();
    task.plan_json = wire::PlanToJson(task.plan);
    task.model = {"tiny/1", *privacy::Sha256HexOfFile(server_.model_path),
                  *FileBytes(server_.model_path)};
    task.sealing_public_key = key_.public_key;
    return task;
  }
  absl::StatusOr<FinishedTask> Run(const SiteTask& task) {
    AgentOptions options;
    options.federation = "testfed";
    options.site = "site-a";
    options.compute = {1, "cpu"};
    const TaskSite site{At("home"), options, server_, *spool_, Clock::System()};
    TaskMonitor monitor(task, server_, stop_, Clock::System());
    return RunTask(site, task, monitor);
  }
  // The tensors of the sealed update.
  wire::SafetensorsFile Open(const SiteTask& task) {
    auto reader = privacy::SealedReader::Open(
        spool_->UpdatePath(task.task_id), key_,
        {"testfed", task.study, task.round, "site-a", task.task_id});
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::string plain;
    std::string piece;
    for (uint64_t at = 0; at < reader->pieces(); ++at) {
      EXPECT_TRUE(reader->Read(at, piece).ok());
      plain += piece;
    }
    EXPECT_TRUE(WriteFileAtomic(At("opened"), plain).ok());
    auto file = wire::ReadSafetensors(At("opened"));
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  TempDir folder_;
  privacy::HpkeKeyPair key_;
  ModelServer server_;
  std::unique_ptr<Spool> spool_;
  std::atomic<bool> stop_{false};
};

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
