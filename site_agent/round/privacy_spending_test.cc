#include "site_agent/round/privacy_spending.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/dp/budget.h"
#include "proto/base/file.h"
#include "site_agent/policy/judge.h"
#include "site_agent/policy/spent_epsilon.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;

// Forty patients, eight a step, 4 rounds of 10 steps.
wire::Plan SamplePlan() {
  wire::Plan plan;
  plan.study = "s";
  plan.training.rounds = 4;
  plan.training.steps_per_round = 10;
  plan.privacy = {"sample", 8, 1e-4, 1, 8, 0};
  return plan;
}

std::vector<std::string> Patients(int count, int first = 0) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(absl::StrCat("p", first + i));
  return names;
}

class PrivacySpendingTest : public testing::Test {
 protected:
  PrivacySpendingTest()
      : ledger_(*BudgetLedger::Open(dir_.path(), SpentEpsilonOf, Clock::System())) {}
  SiteTask Task(int64_t round, const wire::Plan& plan = SamplePlan()) const {
    SiteTask task;
    task.task_id = absl::StrCat(plan.study, "/", round);
    task.study = plan.study;
    task.round = round;
    task.plan = plan;
    return task;
  }
  absl::StatusOr<PrivacySpending> Begin(const SiteTask& task, const PatientBudget& limit = {},
                                        int patients = 40) {
    return PrivacySpending::Begin(*ledger_, task, Patients(patients), limit);
  }
  TempDir dir_ = *TempDir::Create("spending");
  std::unique_ptr<BudgetLedger> ledger_;
};

TEST_F(PrivacySpendingTest, TheNoiseKeepsThePlansPromiseOverAllItsStepsAndNoMore) {
  const auto noise = SampleNoiseFor(SamplePlan(), 40);
  ASSERT_TRUE(noise.ok()) << noise.status();
  EXPECT_DOUBLE_EQ(noise->sampling_rate, 0.2);
  const auto spent = [&](double sigma) { return *dp::SpentEpsilon({{0.2, sigma, 40}}, 1e-4); };
  EXPECT_LE(spent(noise->noise_multiplier), 8);
  EXPECT_GT(spent(noise->noise_multiplier * 0.999), 8);
  EXPECT_DOUBLE_EQ(SampleNoiseFor(SamplePlan(), 3)->sampling_rate, 1);
}

TEST_F(PrivacySpendingTest, AStudyEndsAtItsBudgetToTheStep) {
  double before = 0;
  for (int64_t round = 1; round <= 4; ++round) {
    auto spending = Begin(Task(round));
    ASSERT_TRUE(spending.ok()) << round << ": " << spending.status();
    EXPECT_EQ(spending->part().steps, 10);
    ASSERT_TRUE(spending->Finish(10).ok());
    const double after = ledger_->SpentBy(Patients(40), 1e-4);
    EXPECT_GT(after, before);
    EXPECT_LE(after, 8);
    before = after;
  }
  EXPECT_GT(before, 7.9);
  const auto more = Begin(Task(5));
  EXPECT_EQ(more.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(more.status().message(),
            "privacy budget: epsilon 8 at delta 0.0001 of the study is spent at this site");
}

TEST_F(PrivacySpendingTest, StepsOfATrainingThatWasCutCount) {
  auto cut = Begin(Task(1));
  ASSERT_TRUE(cut.ok());
  ASSERT_TRUE(cut->Finish(3).ok());
  ASSERT_TRUE(Begin(Task(1)).ok());  // and one that never came to an end: in full
  ASSERT_TRUE(Begin(Task(2)).ok());
  ASSERT_TRUE(Begin(Task(3)).ok());
  const auto last = Begin(Task(4));
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->part().steps, 7);
  EXPECT_FALSE(Begin(Task(4)).ok());
}

TEST_F(PrivacySpendingTest, TextSaysWhatIsSpentOfWhat) {
  auto spending = Begin(Task(1));
  ASSERT_TRUE(spending.ok());
  ASSERT_TRUE(spending->Finish(10).ok());
  const double epsilon = ledger_->SpentBy(Patients(40), 1e-4);
  EXPECT_EQ(spending->Text(), absl::StrFormat("epsilon %.4g of 8 at delta 0.0001 spent", epsilon));
}

TEST_F(PrivacySpendingTest, TheSitesOwnBudgetOverStudiesIsAskedToo) {
  wire::Plan other = SamplePlan();
  other.study = "other";
  auto first = Begin(Task(1, other));
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(first->Finish(10).ok());
  const double spent = ledger_->SpentBy(Patients(40), 1e-5);
  const PatientBudget little = {spent * 1.05, 1e-5};
  const auto some = Begin(Task(1), little);
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_GT(some->part().steps, 0);
  EXPECT_LT(some->part().steps, 10);
  const auto refused = Begin(Task(2), little);
  const auto refusal = RefusalIn(refused.status());
  ASSERT_TRUE(refusal) << refused.status();
  EXPECT_EQ(refusal->clause, "budget.epsilon");
}

TEST_F(PrivacySpendingTest, PatientsWhoHaveSpentAllAreLeftOut) {
  wire::Plan other = SamplePlan();
  other.study = "other";
  auto first = PrivacySpending::Begin(*ledger_, Task(1, other), Patients(20), {});
  ASSERT_TRUE(first.ok());
  const PatientBudget limit = {ledger_->SpentBy(Patients(20), 1e-5) * 1.2, 1e-5};
  const auto within = PatientsWithinBudget(*ledger_, SamplePlan(), Patients(40), limit);
  ASSERT_TRUE(within.ok());
  EXPECT_EQ(within->size(), 20u);
  EXPECT_EQ(PatientsWithinBudget(*ledger_, SamplePlan(), Patients(20), limit)->size(), 20u)
      << "nobody is left: Begin says why";
}

TEST_F(PrivacySpendingTest, TrainingWithoutNoiseIsCountedAsThat) {
  wire::Plan plain = SamplePlan();
  plain.privacy = {};
  auto spending = Begin(Task(1, plain));
  ASSERT_TRUE(spending.ok()) << spending.status();
  EXPECT_THAT(spending->Text(), HasSubstr("no guarantee"));
  EXPECT_TRUE(std::isinf(ledger_->SpentBy(Patients(40), 1e-5)));
  EXPECT_FALSE(Begin(Task(2, plain), {100.0, 1e-5}).ok());
}

TEST_F(PrivacySpendingTest, ASitesNoiseIsOneStepOfAllPatients) {
  wire::Plan plan = SamplePlan();
  plan.privacy = {"site", 8, 1e-4, 1, 8, 5};
  auto spending = Begin(Task(1, plan));
  ASSERT_TRUE(spending.ok()) << spending.status();
  EXPECT_EQ(spending->part().steps, 1);
  EXPECT_EQ(spending->part().sampling_rate, 1);
  ASSERT_TRUE(spending->Finish(0).ok()) << "its release is the update's, not of a step";
  EXPECT_NEAR(ledger_->SpentBy(Patients(40), 1e-4), *dp::SpentEpsilon({{1, 5, 1}}, 1e-4), 0.01);
}

}  // namespace
}  // namespace consilium::agent
