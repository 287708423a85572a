#include "site_agent/round/task_door.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/wire/retry.h"
#include "site_agent/policy/approvals.h"
#include "site_agent/round/site_round.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class NoonClock final : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Duration Monotonic() const override { return now - absl::UnixEpoch(); }
  absl::Time now = absl::FromCivil(absl::CivilSecond(2026, 5, 4, 12), absl::UTCTimeZone());
};

class TaskDoorTest : public testing::Test {
 protected:
  TaskDoorTest()
      : door_(
            dir_.path(),
            [this](const SiteEvent& event) {
              events_.push_back(event);
              return absl::OkStatus();
            },
            absl::UTCTimeZone(), clock_) {}
  void WritePolicy(absl::string_view yaml) {
    ASSERT_TRUE(WriteFileAtomic(PolicyPath(dir_.path()), yaml, kPrivateFile).ok());
  }
  static SiteTask Task(TaskKind kind) {
    SiteTask task;
    task.task_id = "hippo/1";
    task.kind = kind;
    task.study = task.plan.study = "hippo";
    task.round = 1;
    task.plan.labels = {{1, "Anterior", ""}};
    task.plan.protection.kind = "secure-aggregation";
    task.plan_json = wire::PlanToJson(task.plan);
    return task;
  }
  TempDir dir_ = *TempDir::Create("door");
  NoonClock clock_;
  std::vector<SiteEvent> events_;
  TaskDoor door_;
};

TEST_F(TaskDoorTest, FiveSitesWantedAndThreePromised) {
  WritePolicy("secure_aggregation: {min_cohort: 5}");
  for (const TaskKind kind : {TaskKind::kPrepare, TaskKind::kInitialise, TaskKind::kTrain}) {
    events_.clear();
    const absl::Status refused = door_.Admit(Task(kind)).status();
    EXPECT_EQ(ClassifyWork(refused), WorkFailure::kHopeless) << TaskKindName(kind);
    const std::string reason = DeclineReason(refused);
    EXPECT_EQ(reason,
              "site policy (secure_aggregation.min_cohort): wants at least 5 sites in a sum; got 3 "
              "promised by the plan");
    ASSERT_THAT(events_, SizeIs(1));
    EXPECT_EQ(events_[0].action, "task.refuse");
    EXPECT_EQ(events_[0].outcome, "refused");
    EXPECT_EQ(events_[0].reason, reason);
    EXPECT_EQ(events_[0].request, "hippo/1");
  }
  WritePolicy("secure_aggregation: {min_cohort: 3}");
  EXPECT_TRUE(door_.Admit(Task(TaskKind::kTrain)).ok());
}

TEST_F(TaskDoorTest, AnEvaluatorSendsNothingThatTheClausesOnUpdatesCouldMean) {
  WritePolicy("secure_aggregation: {min_cohort: 5}");
  SiteTask task = Task(TaskKind::kPrepare);
  task.role = SiteRole::kEvaluator;
  EXPECT_TRUE(door_.Admit(task).ok());
  WritePolicy("studies: {deny: [\"hip*\"]}");
  EXPECT_THAT(DeclineReason(door_.Admit(task).status()), HasSubstr("studies.deny"));
}

TEST_F(TaskDoorTest, OutsideTheHoursTheSiteWaitsAndSaysSoOnce) {
  WritePolicy("training: {hours: [\"20:00-06:00\"]}");
  const SiteTask task = Task(TaskKind::kTrain);
  for (int i = 0; i < 3; ++i) {
    const absl::Status later = door_.Admit(task).status();
    EXPECT_EQ(ClassifyWork(later), WorkFailure::kElsewhere) << "asked for again, not declined";
    EXPECT_EQ(wire::RetryAfter(later), wire::kRetryAfterMax);
  }
  EXPECT_THAT(events_, SizeIs(1));
  EXPECT_TRUE(door_.Admit(Task(TaskKind::kPrepare)).ok()) << "nothing is trained";
  clock_.now += absl::Hours(9);
  EXPECT_TRUE(door_.Admit(task).ok());
}

TEST_F(TaskDoorTest, RoundsOfTheDayAreCountedWhenTheyBegin) {
  WritePolicy("training: {rounds_per_day: 1}");
  const BudgetPart plain = {Mechanism::kNone, 1, 0, 10};
  SiteTask task = Task(TaskKind::kTrain);
  task.masking.emplace();
  ASSERT_TRUE(door_.Admit(task).ok());
  ASSERT_TRUE(door_.AdmitTraining(task, plain).ok());
  EXPECT_TRUE(door_.AdmitTraining(task, plain).ok()) << "the same training, taken up again";
  task.task_id = "hippo/2";
  EXPECT_EQ(ClassifyWork(door_.Admit(task).status()), WorkFailure::kElsewhere);
  clock_.now += absl::Hours(13);
  EXPECT_TRUE(door_.Admit(task).ok());
}

TEST_F(TaskDoorTest, TheNoiseIsJudgedOnceItIsKnown) {
  WritePolicy("privacy: {level: sample, noise_multiplier_min: 1.5}");
  SiteTask task = Task(TaskKind::kTrain);
  task.masking.emplace();
  EXPECT_THAT(DeclineReason(door_.Admit(task).status()), HasSubstr("privacy.level"));
  task.plan.privacy = {"sample", 8, 1e-4, 1, 8, 0};
  ASSERT_TRUE(door_.Admit(task).ok());
  const absl::Status weak = door_.AdmitTraining(task, {Mechanism::kDiscreteGaussian, 0.1, 1.4, 10});
  EXPECT_THAT(DeclineReason(weak), HasSubstr("privacy.noise_multiplier_min"));
  EXPECT_TRUE(door_.AdmitTraining(task, {Mechanism::kDiscreteGaussian, 0.1, 1.6, 10}).ok());
}

TEST_F(TaskDoorTest, APlanThatWaitsForAnApprovalIsKeptForPeopleToSee) {
  WritePolicy("approval: each-plan");
  const SiteTask task = Task(TaskKind::kPrepare);
  EXPECT_THAT(DeclineReason(door_.Admit(task).status()), HasSubstr("approval"));
  EXPECT_TRUE(PathExists(WaitingPlanPath(dir_.path(), privacy::Sha256Hex(task.plan_json))));
}

TEST_F(TaskDoorTest, APolicyThatCannotBeReadIsExplainedToTheSiteOnly) {
  WritePolicy("secure_aggregation: {min_cohort: few}");
  const absl::Status refused = door_.Admit(Task(TaskKind::kTrain)).status();
  EXPECT_THAT(DeclineReason(refused), testing::Not(HasSubstr("few")));
  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_THAT(events_[0].reason, HasSubstr("min_cohort"));
}

TEST_F(TaskDoorTest, CompanyThatIsDeniedIsRefusedByNameAndByKey) {
  SitePolicy policy;
  policy.peers_deny = {"clinic-*", "sha256:" + std::string(64, '0')};
  secagg::KeyAnnouncement peer;
  peer.site = "clinic-7";
  peer.certificate_fingerprint = std::string(32, '\1');
  EXPECT_THAT(AcceptPeer(policy, peer).message(), HasSubstr("peers.deny"));
  peer.site = "hospital";
  EXPECT_TRUE(AcceptPeer(policy, peer).ok());
  peer.certificate_fingerprint = std::string(32, '\0');
  EXPECT_FALSE(AcceptPeer(policy, peer).ok());
}

}  // namespace
}  // namespace consilium::agent
