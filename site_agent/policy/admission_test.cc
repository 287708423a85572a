#include "site_agent/policy/admission.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "site_agent/policy/approvals.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

const std::string kPlanA(64, 'a');
const std::string kPlanB(64, 'b');

class AdmissionTest : public testing::Test {
 protected:
  AdmissionTest() {
    terms_.task_id = "train/1";
    terms_.study = "hippocampus";
    terms_.plan_sha256 = kPlanA;
    terms_.protection = Protection::kSecureAggregation;
    terms_.min_cohort = 3;
    terms_.now = Day(1);
    terms_.zone = absl::UTCTimeZone();
  }
  static absl::Time Day(int day) {
    return absl::FromCivil(absl::CivilSecond(2026, 5, day, 12), absl::UTCTimeZone());
  }
  void WritePolicy(absl::string_view yaml) {
    ASSERT_TRUE(WriteFileAtomic(PolicyPath(home()), yaml, kPrivateFile).ok());
  }
  std::string ClauseOf(const absl::Status& status) {
    const auto refusal = RefusalIn(status);
    return refusal ? refusal->clause : status.ToString();
  }
  std::string Admit() { return ClauseOf(AdmitTask(home(), terms_).status()); }
  std::string home() const { return dir_.path(); }
  TempDir dir_ = *TempDir::Create("admission");
  TaskTerms terms_;
};

TEST_F(AdmissionTest, APolicyThatBreaksRefusesEverythingAndOneThatIsMendedDoesNot) {
  EXPECT_EQ(Admit(), "OK");
  WritePolicy("secure_aggregation: {min_cohort: 3}");
  EXPECT_EQ(AdmitTask(home(), terms_)->sha256.size(), 64u);
  WritePolicy("secure_aggregation: {min_cohort: 3");
  const auto refusal = RefusalIn(AdmitTask(home(), terms_).status());
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->clause, "policy.yaml");
  EXPECT_THAT(refusal->detail, HasSubstr("is not YAML"));
  EXPECT_THAT(refusal->text, testing::Not(HasSubstr("YAML:")));
  terms_.trains = terms_.sends_update = false;
  EXPECT_EQ(Admit(), "policy.yaml");
  WritePolicy("{}");
  EXPECT_EQ(Admit(), "OK");
}

TEST_F(AdmissionTest, EachPlanWaitsForItsApprovalAndLosesItAgain) {
  WritePolicy("approval: each-plan");
  EXPECT_EQ(Admit(), "approval");
  ASSERT_TRUE(AddApproval(home(), "hippocampus", kPlanB, Day(1)).ok());
  EXPECT_EQ(Admit(), "approval");
  ASSERT_TRUE(AddApproval(home(), "liver", kPlanA, Day(1)).ok());
  EXPECT_EQ(Admit(), "approval");
  ASSERT_TRUE(AddApproval(home(), "hippocampus", kPlanA, Day(1)).ok());
  ASSERT_TRUE(AddApproval(home(), "hippocampus", kPlanA, Day(2)).ok());
  EXPECT_THAT(*ReadApprovals(home()), SizeIs(3));
  EXPECT_EQ(Admit(), "OK");
  ASSERT_TRUE(WithdrawApproval(home(), "hippocampus", kPlanA).ok());
  EXPECT_EQ(Admit(), "approval");
  WritePolicy("approval: first-task-of-a-study");
  EXPECT_EQ(Admit(), "OK");  // another plan of it was approved
  ASSERT_TRUE(WithdrawApproval(home(), "hippocampus", "").ok());
  EXPECT_EQ(Admit(), "approval");
  EXPECT_TRUE(absl::IsNotFound(WithdrawApproval(home(), "hippocampus", "")));
}

TEST_F(AdmissionTest, ApprovalsAreOfStudiesAndDigestsAndADamagedFileApprovesNothing) {
  EXPECT_TRUE(absl::IsInvalidArgument(AddApproval(home(), "Hippo Campus", kPlanA, Day(1))));
  EXPECT_TRUE(absl::IsInvalidArgument(AddApproval(home(), "hippocampus", "aaaa", Day(1))));
  ASSERT_TRUE(AddApproval(home(), "hippocampus", kPlanA, Day(1)).ok());
  WritePolicy("approval: first-task-of-a-study");
  for (const char* text : {"", "[]", "{\"v\":1}", "{\"v\":2,\"approvals\":[]}",
                           "{\"v\":1,\"approvals\":[{\"study\":\"hippocampus\"}]}"}) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(home(), "policy/approvals.json"), text).ok());
    EXPECT_TRUE(absl::IsDataLoss(ReadApprovals(home()).status())) << text;
    EXPECT_EQ(Admit(), "policy.yaml") << text;
  }
}

TEST_F(AdmissionTest, APlanThatWaitsIsThereToBeLookedAtUntilItIsApproved) {
  const std::string digest = privacy::Sha256Hex("{}");
  ASSERT_TRUE(KeepWaitingPlan(home(), "{}").ok());
  ASSERT_TRUE(KeepWaitingPlan(home(), "{}").ok());
  EXPECT_EQ(*ReadFile(WaitingPlanPath(home(), digest), 100), "{}");
  ASSERT_TRUE(AddApproval(home(), "hippocampus", digest, Day(1)).ok());
  EXPECT_FALSE(PathExists(WaitingPlanPath(home(), digest)));
  // A coordinator cannot fill the disk with plans.
  for (size_t i = 0; i < kWaitingPlansMax; ++i) {
    ASSERT_TRUE(KeepWaitingPlan(home(), absl::StrCat(i)).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(KeepWaitingPlan(home(), "more")));
  EXPECT_TRUE(absl::IsResourceExhausted(
      KeepWaitingPlan(home(), std::string(wire::kPlanBytesMax + 1, ' '))));
}

TEST_F(AdmissionTest, RoundsOfADayAreCountedOverARestartAndATaskOnce) {
  WritePolicy("training: {rounds_per_day: 2}");
  for (const char* task : {"train/1", "train/2", "train/2"}) {
    ASSERT_TRUE(NoteTraining(home(), task, Day(1), absl::UTCTimeZone()).ok());
  }
  EXPECT_EQ(Admit(), "OK");  // train/1 is one of the two: taken up again after a crash
  terms_.task_id = "train/3";
  const absl::Status status = AdmitTask(home(), terms_).status();
  EXPECT_EQ(ClauseOf(status), "training.rounds_per_day");
  EXPECT_TRUE(absl::IsUnavailable(status));
  terms_.now = Day(2);
  EXPECT_EQ(Admit(), "OK");
  terms_.now = Day(1);  // a clock that is set back finds the old count
  EXPECT_EQ(Admit(), "training.rounds_per_day");
  ASSERT_TRUE(WriteFileAtomic(JoinPath(home(), "policy/rounds.json"), "{").ok());
  EXPECT_EQ(Admit(), "policy.yaml");
}

TEST_F(AdmissionTest, CasesAreSelectedByTheSitesRulesToo) {
  SitePolicy policy;
  policy.series_rules = {{"BodyPartExamined", "!HEAD"}};
  wire::Plan plan;
  plan.series_rules = {{"ImageType", "!LOCALIZER"}};
  plan.channels = {{"PT", {}, "z-score"}};
  EXPECT_THAT(ApplyToPlan(policy, plan).series_rules, SizeIs(2));
  EXPECT_THAT(ApplyToPlan(policy, plan).channels[0].series_rules, SizeIs(1));
}

}  // namespace
}  // namespace consilium::agent
