// TRAIN as a plan's algorithm and privacy want it, from the task to the sealed update.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/status.h"
#include "site_agent/round/site_round.h"
#include "site_agent/round/study_state.h"
#include "site_agent/round/task_door.h"
#include "site_agent/round/test_tasks.h"
#include "site_agent/round/update_seal.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;

class TrainTaskTest : public TaskTest {
 protected:
  void SetUp() override {
    TaskTest::SetUp();
    OpenDoor();
    WritePolicy("protections: [secure-aggregation, sealed]");
  }
  void OpenDoor() {
    door_ = std::make_unique<TaskDoor>(
        At("home"),
        [this](const SiteEvent& event) {
          events_.push_back(event);
          return absl::OkStatus();
        },
        absl::UTCTimeZone(), Clock::System());
  }
  void WritePolicy(absl::string_view yaml) {
    ASSERT_TRUE(WriteFileAtomic(PolicyPath(At("home")), yaml, kPrivateFile).ok());
  }
  SiteTask TrainTask(const wire::Plan& plan, int64_t round = 1) const {
    SiteTask task = Task(TaskKind::kTrain);
    task.task_id = absl::StrCat("tiny/", round, "/train");
    task.round = round;
    task.plan = plan;
    task.plan_json = wire::PlanToJson(plan);
    return task;
  }
  // As the agent does it: through the door.
  absl::StatusOr<FinishedTask> Admitted(const SiteTask& task) {
    CSL_ASSIGN_OR_RETURN(const SitePolicy policy, door_->Admit(task));
    return Run(task, door_.get(), &policy);
  }
  const SiteEvent* Find(absl::string_view action) const {
    for (const SiteEvent& event : events_) {
      if (event.action == action) return &event;
    }
    return nullptr;
  }
  std::string PathOf(const std::string& name) const {
    return At(absl::StrCat("home/studies/tiny/", name));
  }
  std::vector<SiteEvent> events_;
  std::unique_ptr<TaskDoor> door_;
};

wire::Plan PrivatePlan() {
  wire::Plan plan = TinyPlan();
  plan.training.rounds = 2;
  plan.privacy = {"sample", 4, 1e-3, 1, 8, 0};
  return plan;
}

TEST_F(TrainTaskTest, APrivateRoundTellsNoLossAndItsCostIsCounted) {
  const SiteTask task = TrainTask(PrivatePlan());
  const auto finished = Admitted(task);
  ASSERT_TRUE(finished.ok()) << finished.status();
  const TrainingSummary summary = std::get<UpdateOffer>(finished->result).summary;
  EXPECT_EQ(summary.steps, 3);
  EXPECT_EQ(summary.mean_loss, 0);
  EXPECT_EQ(summary.mean_supervised_loss, 0);
  EXPECT_EQ(summary.seconds, 0) << "it tells how many patients were drawn";
  const SiteEvent* const spent = Find("privacy.spend");
  ASSERT_NE(spent, nullptr);
  EXPECT_THAT(spent->reason, HasSubstr("of 4 at delta 0.001 spent"));
  EXPECT_EQ(spent->count, 3);
  const auto ledger = door_->Ledger();
  ASSERT_TRUE(ledger.ok());
  EXPECT_EQ((*ledger)->Report(PatientBudget()).patients, 1);
}

TEST_F(TrainTaskTest, NoiseIsNewEachTimeAndSteersTheUpdate) {
  const SiteTask task = TrainTask(PrivatePlan());
  ASSERT_TRUE(Admitted(task).ok());
  const std::vector<float> first = Open(task).map.values;
  ASSERT_TRUE(Admitted(task).ok());
  EXPECT_NE(Open(task).map.values, first);
}

TEST_F(TrainTaskTest, TrainingEndsAtTheBudget) {
  const wire::Plan plan = PrivatePlan();
  ASSERT_TRUE(Admitted(TrainTask(plan, 1)).ok());
  ASSERT_TRUE(Admitted(TrainTask(plan, 2)).ok());
  const absl::Status over = Admitted(TrainTask(plan, 3)).status();
  EXPECT_EQ(ClassifyWork(over), WorkFailure::kHopeless) << over;
  EXPECT_EQ(DeclineReason(over),
            "privacy budget: epsilon 4 at delta 0.001 of the study is spent at this site");
  ASSERT_NE(Find("task.refuse"), nullptr);
  EXPECT_EQ(Find("task.refuse")->reason, DeclineReason(over));
}

TEST_F(TrainTaskTest, ThePatientsOwnBudgetIsTheSitesToSet) {
  WritePolicy("{protections: [sealed], budget: {epsilon: 0.5, delta: 1.0e-5}}");
  const absl::Status over = Admitted(TrainTask(PrivatePlan())).status();
  EXPECT_THAT(DeclineReason(over), HasSubstr("site policy (budget.epsilon)"));
  EXPECT_THAT(DeclineReason(Admitted(TrainTask(TinyPlan())).status()),
              HasSubstr("site policy (budget.epsilon)"))
      << "training without noise has no bound at all";
}

TEST_F(TrainTaskTest, WithoutALedgerNoPatientLevelPrivacyIsPromised) {
  EXPECT_EQ(Run(TrainTask(PrivatePlan())).status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(TrainTaskTest, ALedgerThatWasAlteredStopsTraining) {
  ASSERT_TRUE(Admitted(TrainTask(PrivatePlan())).ok());
  ASSERT_TRUE(WriteFileAtomic(At("home/policy/ledger.head"), "x", kPrivateFile).ok());
  OpenDoor();  // as after a restart
  const absl::Status refused = Admitted(TrainTask(PrivatePlan(), 2)).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(DeclineReason(refused), HasSubstr("budget ledger cannot be used"));
}

TEST_F(TrainTaskTest, ControlVariatesGoFromRoundToRoundWithWhatWasTaken) {
  wire::Plan plan = TinyPlan();
  plan.training.rounds = 4;
  plan.algorithm.kind = "scaffold";
  const size_t parameters = wire::ReadSafetensors(server_.model_path)->map.values.size();
  SiteTask task = TrainTask(plan, 1);
  const auto finished = Admitted(task);
  ASSERT_TRUE(finished.ok()) << finished.status();
  const wire::SafetensorsFile first = Open(task);
  EXPECT_EQ(first.map.values.size(), 2 * parameters);
  EXPECT_EQ(std::get<UpdateOffer>(finished->result).layout_sha256,
            ModelLayoutSha256(wire::ReadSafetensors(server_.model_path)->map.layout));
  ASSERT_TRUE(StudyState::NoteAccepted(At("home"), KeyOf(task)).ok());

  // The server's variate: of a single site, its own.
  wire::TensorMap control = wire::ReadSafetensors(server_.model_path)->map;
  control.values.assign(first.map.values.begin() + static_cast<ptrdiff_t>(parameters),
                        first.map.values.end());
  ASSERT_TRUE(wire::WriteSafetensors(At("control"), control, {}).ok());
  const std::string sha256 = *privacy::Sha256HexOfFile(At("control"));
  server_.files[sha256] = At("control");
  // And the model that the round made.
  wire::TensorMap model = wire::ReadSafetensors(server_.model_path)->map;
  for (size_t i = 0; i < parameters; ++i) model.values[i] += first.map.values[i];
  ASSERT_TRUE(
      wire::WriteSafetensors(server_.model_path, model, {{wire::kPlanMetadataKey, task.plan_json}})
          .ok());
  task = TrainTask(plan, 2);
  task.control = ModelRef{"tiny/1/control", sha256, *FileBytes(At("control"))};
  ASSERT_TRUE(Admitted(task).ok());
  const std::vector<float> second = Open(task).map.values;
  ASSERT_TRUE(Admitted(task).ok()) << "the same task, as after a restart";
  EXPECT_EQ(Open(task).map.values, second);
  EXPECT_TRUE(PathExists(PathOf("control.safetensors")));
}

TEST_F(TrainTaskTest, LocalLayersAreKeptAndEvaluated) {
  wire::Plan plan = TinyPlan();
  plan.training.rounds = 4;
  plan.training.learning_rate = 0.05;
  const std::string name = wire::ReadSafetensors(server_.model_path)->map.layout.tensors[0].name;
  SiteTask evaluate = Task(TaskKind::kEvaluate);
  evaluate.role = SiteRole::kEvaluator;  // so that the one case counts
  plan.algorithm.local_layers = {name};
  const SiteTask task = TrainTask(plan, 1);
  ASSERT_TRUE(Admitted(task).ok());
  const wire::SafetensorsFile update = Open(task);
  for (const float value : update.map.tensor(0)) ASSERT_EQ(value, 0);
  ASSERT_TRUE(PathExists(PathOf("next/local.safetensors")));

  evaluate.plan = plan;
  evaluate.plan_json = wire::PlanToJson(plan);
  const auto with_own = Admitted(evaluate);
  ASSERT_TRUE(with_own.ok()) << with_own.status();
  ASSERT_TRUE(Admitted(TrainTask(plan, 2)).ok());
  EXPECT_TRUE(PathExists(PathOf("local.safetensors")));
}

TEST_F(TrainTaskTest, ThePersonalModelIsKeptAndNeverSent) {
  wire::Plan plan = TinyPlan();
  plan.training.rounds = 4;
  const SiteTask plain = TrainTask(plan, 1);
  ASSERT_TRUE(Admitted(plain).ok());
  const std::vector<float> expected = Open(plain).map.values;
  plan.algorithm.personal_lambda = 0.1;
  const SiteTask task = TrainTask(plan, 1);
  ASSERT_TRUE(Admitted(task).ok());
  EXPECT_EQ(Open(task).map.values, expected);
  EXPECT_TRUE(PathExists(PathOf("next/personal.safetensors")));
  SiteTask evaluate = Task(TaskKind::kEvaluate);
  evaluate.role = SiteRole::kEvaluator;
  evaluate.plan = plan;
  evaluate.plan_json = wire::PlanToJson(plan);
  const auto evaluated = Admitted(evaluate);
  ASSERT_TRUE(evaluated.ok()) << evaluated.status();
  EXPECT_EQ(std::get<EvaluationResult>(evaluated->result).cases.size(), 1u);
}

TEST_F(TrainTaskTest, SitesOwnSeriesRulesHoldBesideThePlans) {
  WritePolicy("{protections: [sealed], series: {rules: [{SliceThickness: \"<= 0.1\"}]}}");
  EXPECT_EQ(Admitted(TrainTask(TinyPlan())).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainTaskTest, TheDefaultPolicyDoesNotLetASealedUpdateOut) {
  ASSERT_EQ(std::remove(PolicyPath(At("home")).c_str()), 0);
  EXPECT_THAT(DeclineReason(Admitted(TrainTask(TinyPlan())).status()),
              HasSubstr("site policy (protections)"));
}

}  // namespace
}  // namespace consilium::agent
