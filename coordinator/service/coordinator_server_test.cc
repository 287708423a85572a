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

struct Member {
  std::unique_ptr<TestSite> site;
  int64_t cases, labelled, held_out;
};

std::vector<Member> ThreeSites(TestFederation& federation) {
  std::vector<Member> members;
  members.push_back({federation.AddSite("north"), 10, 10, 2});
  members.push_back({federation.AddSite("south"), 10, 4, 0});
  members.push_back({federation.AddSite("west"), 20, 0, 0});
  return members;
}

void PrepareAll(std::vector<Member>& members) {
  for (Member& m : members) {
    const v1::Task task = m.site->Await(v1::Task::PREPARE);
    ASSERT_TRUE(m.site->Prepare(task, m.cases, m.labelled, m.held_out).ok());
  }
}

// Whichever site is asked first makes the first weights.
void Initialise(std::vector<Member>& members, float value) {
  bool done = false;
  Eventually(
      [&] {
        for (Member& m : members) {
          v1::Task task;
          EXPECT_TRUE(m.site->NextTask(task).ok());
          if (task.kind() != v1::Task::INITIALISE) continue;
          EXPECT_TRUE(m.site->Train(task, value, 0).accepted());
          done = true;
        }
        return done;
      },
      "INITIALISE");
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
  std::vector<Member> members = ThreeSites(federation);
  auto reader = federation.AddSite("reading-centre");
  federation.CreateAndStart(TestStudy(3, 2, "sites: {evaluators: [reading-centre]}\n"));
  PrepareAll(members);
  const v1::Task prepare = reader->Await(v1::Task::PREPARE);
  EXPECT_EQ(prepare.role(), "evaluator");
  ASSERT_TRUE(reader->Prepare(prepare, 5, 5, 5).ok());
  Initialise(members, 1.0f);

  // Weights: north 8 labelled; south 4 + 0.2 * 6; west 0.2 * 20. South claims more than it has.
  const double total = 8 + 5.2 + 4;
  double expected = 1.0;
  for (int round = 1; round <= 2; ++round) {
    const float deltas[] = {0.5f * static_cast<float>(round), -0.25f, 1.0f};
    for (size_t i = 0; i < members.size(); ++i) {
      const v1::Task task = members[i].site->Await(v1::Task::TRAIN);
      EXPECT_EQ(task.round(), round);
      EXPECT_EQ(task.role(), "trainer");
      const auto model = members[i].site->Download(task.model().sha256(), 0);
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_EQ(model->size(), task.model().bytes());
      const auto tail = members[i].site->Download(task.model().sha256(), 100);
      ASSERT_TRUE(tail.ok());
      EXPECT_EQ(*tail, model->substr(100));
      const int64_t labelled[] = {8, 400, 0}, unlabelled[] = {0, 6, 20};
      const v1::CommitUploadReply reply =
          members[i].site->Train(task, deltas[i], labelled[i], unlabelled[i]);
      EXPECT_TRUE(reply.accepted()) << reply.reason();
      v1::Task none;
      if (i + 1 < members.size()) {
        EXPECT_TRUE(members[i].site->NextTask(none).ok());
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

  for (TestSite* site : {members[0].site.get(), reader.get()}) {
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
  std::vector<Member> members = ThreeSites(federation);
  federation.CreateAndStart(TestStudy(3, 1));
  PrepareAll(members);
  Initialise(members, 0.0f);
  std::map<std::string, std::string> task_ids;
  std::vector<TestUpdate> updates;
  for (Member& m : members) {
    const v1::Task task = m.site->Await(v1::Task::TRAIN);
    task_ids[m.site->name()] = task.task_id();
    updates.push_back(m.site->MakeUpdate(task, 1.0f, 100, 100));
    m.site->Seal(task, updates.back());
  }
  ASSERT_TRUE(members[0].site->Submit(updates[0]).accepted());
  // The second is half way when the coordinator goes.
  v1::BeginUploadReply begun;
  ASSERT_TRUE(members[1].site->Begin(updates[1], begun).ok());
  ASSERT_TRUE(members[1].site->Send(updates[1], begun.upload_id(), 0, 200).ok());

  federation.Stop();
  federation.Start();
  for (Member& m : members) m.site->Connect(federation.address());

  v1::Task task;
  ASSERT_TRUE(members[0].site->NextTask(task).ok());
  EXPECT_EQ(task.kind(), v1::Task::KIND_UNSPECIFIED) << "its update was accepted before";
  EXPECT_TRUE(members[0].site->Submit(updates[0]).accepted()) << "a repeat gets the first answer";
  EXPECT_EQ(members[1].site->Await(v1::Task::TRAIN).task_id(), task_ids["south"]);
  v1::BeginUploadReply again;
  ASSERT_TRUE(members[1].site->Begin(updates[1], again).ok());
  EXPECT_EQ(again.upload_id(), begun.upload_id());
  EXPECT_EQ(again.have_offset(), 200u);
  EXPECT_TRUE(members[1].site->Submit(updates[1]).accepted());
  EXPECT_TRUE(members[2].site->Submit(updates[2]).accepted());
  const wire::TensorLayout layout = TestLayout();
  Eventually([&] { return federation.Study("hippo").latest_version() == "hippo/1"; }, "version 1");
  EXPECT_THAT(federation.Model("hippo@latest").values,
              Each(::testing::FloatNear(1.0f, kTolerance)));
  EXPECT_THAT(federation.Audit("update.accept"), SizeIs(4)) << "nobody was counted twice";
}

TEST(CoordinatorServerTest, PauseHoldsTasksAndResumeGivesTheSameOnes) {
  TestFederation federation;
  std::vector<Member> members = ThreeSites(federation);
  federation.CreateAndStart(TestStudy(3, 1));
  PrepareAll(members);
  Initialise(members, 0.0f);
  const v1::Task before = members[0].site->Await(v1::Task::TRAIN);
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
  ASSERT_TRUE(members[0].site->NextTask(task).ok());
  EXPECT_EQ(task.kind(), v1::Task::KIND_UNSPECIFIED);
  EXPECT_FALSE(control("start").ok());
  ASSERT_TRUE(control("resume").ok());
  EXPECT_EQ(members[0].site->Await(v1::Task::TRAIN).task_id(), before.task_id());
  ASSERT_TRUE(control("stop").ok());
  EXPECT_EQ(federation.Study("hippo").state(), "stopped");
  EXPECT_EQ(federation.Round("hippo", 1).phase(), "failed");
}

TEST(CoordinatorServerTest, AliasMovesByCompareAndSetAndReleasesAreRecorded) {
  TestFederation federation;
  std::vector<Member> members = ThreeSites(federation);
  federation.CreateAndStart(TestStudy(3, 1));
  PrepareAll(members);
  Initialise(members, 0.0f);
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
