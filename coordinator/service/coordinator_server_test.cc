// The main job over real mutual TLS: enrolment, cohorts, first weights, rounds, evaluation, and a
// coordinator that goes down in the middle.
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/plan.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr float kTolerance = 1e-6f;  // float32 sums around 1; the fold itself is exact to 2^-32

using Sites = std::vector<std::unique_ptr<TestSite>>;

Sites ThreeSites(TestFederation& federation) {
  Sites sites;
  for (const char* name : {"north", "south", "west"}) sites.push_back(federation.AddSite(name));
  return sites;
}

// All labelled with two held out; some labelled; none.
void PrepareAll(const Sites& sites) {
  const int64_t cases[] = {10, 10, 20}, labelled[] = {10, 4, 0}, held_out[] = {2, 0, 0};
  for (size_t i = 0; i < sites.size(); ++i) {
    const v1::Task task = sites[i]->Await(v1::Task::PREPARE);
    ASSERT_TRUE(sites[i]->Prepare(task, cases[i], labelled[i], held_out[i]).ok());
  }
}

TEST(CoordinatorServerTest, AHeldQuestionIsAnsweredByWorkAndEndedByADrain) {
  TestFederation federation;
  auto site = federation.AddSite("north");
  const absl::Duration started = Clock::System().Monotonic();
  v1::Task task;
  grpc::Status status;
  std::thread waiting([&] { status = site->NextTask(task, 25); });
  federation.CreateAndStart(TestStudy(1, 1));
  waiting.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(task.kind(), v1::Task::PREPARE);
  EXPECT_LT(Clock::System().Monotonic() - started, absl::Seconds(20));

  // The study has what it needs, so another site is asked for its cohort and then for nothing.
  auto other = federation.AddSite("south");
  v1::Task theirs;
  ASSERT_TRUE(other->NextTask(theirs).ok());
  if (theirs.kind() == v1::Task::PREPARE) {
    ASSERT_TRUE(other->Prepare(theirs, 10, 10, 0).ok());
  }
  const absl::Duration drained = Clock::System().Monotonic();
  std::thread draining([&] { other->NextTask(theirs, 25); });
  federation.Stop();
  draining.join();
  EXPECT_LT(Clock::System().Monotonic() - drained, absl::Seconds(20));
}

TEST(CoordinatorServerTest, TwoRoundsGiveTheWeightedMeanAndAnEvaluation) {
  TestFederation federation;
  Sites sites = ThreeSites(federation);
  auto reader = federation.AddSite("reading-centre");
  federation.CreateAndStart(TestStudy(3, 2, "sites: {evaluators: [reading-centre]}\n"));
  PrepareAll(sites);
  const v1::Task prepare = reader->Await(v1::Task::PREPARE);
  EXPECT_EQ(prepare.role(), "evaluator");
  ASSERT_TRUE(reader->Prepare(prepare, 5, 5, 5).ok());
  MakeFirstWeights(sites, 1.0f);

  // Weights: north 8 labelled; south 4 + 0.2 * 6; west 0.2 * 20. South claims more than it has.
  const double total = 8 + 5.2 + 4;
  double expected = 1.0;
  for (int round = 1; round <= 2; ++round) {
    const float deltas[] = {0.5f * static_cast<float>(round), -0.25f, 1.0f};
    for (size_t i = 0; i < sites.size(); ++i) {
      const v1::Task task = sites[i]->Await(v1::Task::TRAIN);
      EXPECT_EQ(task.round(), round);
      EXPECT_EQ(task.role(), "trainer");
      const auto model = sites[i]->Download(task.model().sha256(), 0);
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_EQ(model->size(), task.model().bytes());
      const auto tail = sites[i]->Download(task.model().sha256(), 100);
      ASSERT_TRUE(tail.ok());
      EXPECT_EQ(*tail, model->substr(100));
      const int64_t labelled[] = {8, 400, 0}, unlabelled[] = {0, 6, 20};
      const v1::CommitUploadReply reply =
          sites[i]->Train(task, deltas[i], labelled[i], unlabelled[i]);
      EXPECT_TRUE(reply.accepted()) << reply.reason();
      v1::Task none;
      if (i + 1 < sites.size()) {
        EXPECT_TRUE(sites[i]->NextTask(none).ok());
        EXPECT_EQ(none.kind(), v1::Task::KIND_UNSPECIFIED) << "submitted, so nothing is left to do";
      }
    }
    expected += (8 * deltas[0] + 5.2 * deltas[1] + 4 * deltas[2]) / total;
    Eventually(
        [&] { return federation.Study("hippo").latest_version() == absl::StrCat("hippo/", round); },
        "the round's version");
    const wire::TensorMap model = federation.Model(absl::StrCat("hippo/", round));
    EXPECT_EQ(model.layout, TestLayout());
    EXPECT_THAT(model.values, Each(::testing::FloatNear(static_cast<float>(expected), kTolerance)));
  }

  for (TestSite* site : {sites[0].get(), reader.get()}) {
    const v1::Task task = site->Await(v1::Task::EVALUATE);
    v1::EvaluationReport report;
    report.set_task_id(task.task_id());
    v1::CaseDice& one = *report.add_cases();
    one.set_case_pseudonym("a1");
    one.add_dice(0.8);
    one.add_dice(std::nan(""));
    grpc::ClientContext context;
    v1::Acknowledgement ack;
    const grpc::Status status = site->stub().ReportEvaluation(&context, report, &ack);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  const v1::Study study = federation.AwaitState("hippo", "finished");
  ASSERT_EQ(study.evaluations_size(), 1);
  EXPECT_EQ(study.evaluations(0).version(), "hippo/2");
  EXPECT_EQ(study.evaluations(0).sites_size(), 2);
  EXPECT_DOUBLE_EQ(study.evaluations(0).sites(0).mean_dice(0), 0.8);
  EXPECT_TRUE(std::isnan(study.evaluations(0).sites(0).mean_dice(1)));
  EXPECT_TRUE(wire::PlanFromJson(study.plan_json()).ok());
  const v1::Round round = federation.Round("hippo", 2);
  EXPECT_EQ(round.phase(), "committed");
  for (const v1::Contribution& c : round.contributions()) EXPECT_EQ(c.outcome(), "folded");
  EXPECT_THAT(federation.Audit("round.commit"), SizeIs(3));
  EXPECT_THAT(federation.Audit("update.accept"), SizeIs(7));
}

TEST(CoordinatorServerTest, RestartMidRoundGoesOnWithWhatWasAccepted) {
  TestFederation federation;
  Sites sites = ThreeSites(federation);
  federation.CreateAndStart(TestStudy(3, 1));
  PrepareAll(sites);
  MakeFirstWeights(sites, 0.0f);
  std::map<std::string, std::string> task_ids;
  std::vector<TestUpdate> updates;
  for (const auto& site : sites) {
    const v1::Task task = site->Await(v1::Task::TRAIN);
    task_ids[site->name()] = task.task_id();
    updates.push_back(site->MakeUpdate(task, 1.0f, 100, 100));
    site->Seal(task, updates.back());
  }
  ASSERT_TRUE(sites[0]->Submit(updates[0]).accepted());
  // The second is half way when the coordinator goes.
  v1::BeginUploadReply begun;
  ASSERT_TRUE(sites[1]->Begin(updates[1], begun).ok());
  ASSERT_TRUE(sites[1]->Send(updates[1], begun.upload_id(), 0, 200).ok());

  federation.Stop();
  federation.Start();
  for (const auto& site : sites) site->Connect(federation.address());

  v1::Task task;
  ASSERT_TRUE(sites[0]->NextTask(task).ok());
  EXPECT_EQ(task.kind(), v1::Task::KIND_UNSPECIFIED) << "its update was accepted before";
  EXPECT_TRUE(sites[0]->Submit(updates[0]).accepted()) << "a repeat gets the first answer";
  EXPECT_EQ(sites[1]->Await(v1::Task::TRAIN).task_id(), task_ids["south"]);
  v1::BeginUploadReply again;
  ASSERT_TRUE(sites[1]->Begin(updates[1], again).ok());
  EXPECT_EQ(again.upload_id(), begun.upload_id());
  EXPECT_EQ(again.have_offset(), 200u);
  EXPECT_TRUE(sites[1]->Submit(updates[1]).accepted());
  EXPECT_TRUE(sites[2]->Submit(updates[2]).accepted());
  const wire::TensorLayout layout = TestLayout();
  Eventually([&] { return federation.Study("hippo").latest_version() == "hippo/1"; }, "version 1");
  EXPECT_THAT(federation.Model("hippo@latest").values,
              Each(::testing::FloatNear(1.0f, kTolerance)));
  EXPECT_THAT(federation.Audit("update.accept"), SizeIs(4)) << "nobody was counted twice";
}

TEST(CoordinatorServerTest, PauseHoldsTasksAndResumeGivesTheSameOnes) {
  TestFederation federation;
  Sites sites = ThreeSites(federation);
  federation.CreateAndStart(TestStudy(3, 1));
  PrepareAll(sites);
  MakeFirstWeights(sites, 0.0f);
  const v1::Task before = sites[0]->Await(v1::Task::TRAIN);
  const auto control = [&](const std::string& action) {
    grpc::ClientContext context;
    v1::ControlStudyRequest request;
    request.set_name("hippo");
    request.set_action(action);
    v1::Study study;
    return federation.admin().ControlStudy(&context, request, &study);
  };
  ASSERT_TRUE(control("pause").ok());
  v1::Task task;
  ASSERT_TRUE(sites[0]->NextTask(task).ok());
  EXPECT_EQ(task.kind(), v1::Task::KIND_UNSPECIFIED);
  EXPECT_FALSE(control("start").ok());
  ASSERT_TRUE(control("resume").ok());
  EXPECT_EQ(sites[0]->Await(v1::Task::TRAIN).task_id(), before.task_id());
  ASSERT_TRUE(control("stop").ok());
  EXPECT_EQ(federation.Study("hippo").state(), "stopped");
  EXPECT_EQ(federation.Round("hippo", 1).phase(), "failed");
}

TEST(CoordinatorServerTest, AliasMovesByCompareAndSetAndReleasesAreRecorded) {
  TestFederation federation;
  Sites sites = ThreeSites(federation);
  federation.CreateAndStart(TestStudy(3, 1));
  PrepareAll(sites);
  MakeFirstWeights(sites, 0.0f);
  Eventually([&] { return federation.Study("hippo").latest_version() == "hippo/0"; }, "version 0");
  const auto set_alias = [&](const std::string& expected) {
    grpc::ClientContext context;
    v1::SetAliasRequest request;
    request.set_study("hippo");
    request.set_alias("candidate");
    request.set_version("hippo/0");
    request.set_expected_version(expected);
    v1::Model model;
    return federation.admin().SetAlias(&context, request, &model);
  };
  EXPECT_EQ(set_alias("hippo/9").error_code(), grpc::StatusCode::ABORTED);
  EXPECT_TRUE(set_alias("").ok());
  EXPECT_EQ(set_alias("").error_code(), grpc::StatusCode::ABORTED);
  grpc::ClientContext context;
  v1::CreateReleaseRequest request;
  request.set_version("hippo@candidate");
  v1::Release release;
  ASSERT_TRUE(federation.admin().CreateRelease(&context, request, &release).ok());
  EXPECT_EQ(release.name(), "hippo-0");
  EXPECT_THAT(federation.Audit("release.create"), SizeIs(1));
}

}  // namespace
}  // namespace consilium::coordinator
