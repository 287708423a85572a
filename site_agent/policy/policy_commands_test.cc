#include "site_agent/policy/policy_commands.h"

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/approvals.h"
#include "site_agent/policy/budget_ledger.h"
#include "site_agent/policy/site_policy.h"
#include "site_agent/policy/spent_epsilon.h"
#include "tests/support/sim_clock.h"

namespace consilium::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PolicyCommandsTest : public ::testing::Test {
 protected:
  PolicyCommandsTest() {
    plan_.study = "hippocampus";
    plan_.labels = {{1, "Anterior", ""}};
    plan_.protection.kind = "secure-aggregation";
    WritePlan();
  }
  void WritePlan() {
    ASSERT_TRUE(WriteFileAtomic(Path("plan.json"), wire::PlanToJson(plan_)).ok());
  }
  std::string WritePolicy(const std::string& name, absl::string_view text) {
    EXPECT_TRUE(WriteFileAtomic(Path(name), text, kPrivateFile).ok());
    return Path(name);
  }
  // As at a terminal; what was printed is in table_ and json_.
  absl::Status Run(std::vector<std::string> words) {
    CLI::App app("test");
    PolicyCommand chosen;
    AddPolicyCommands(app,
                      {.print =
                           [this](OutputFormat, const auto& table, const std::string& json) {
                             table_ = table;
                             json_ = nlohmann::json::parse(json);
                           },
                       .record =
                           [this](const std::string&, const std::string& action,
                                  const std::string& study, const std::string& plan) {
                             recorded_.push_back(absl::StrCat(action, " ", study, " ", plan));
                             return absl::OkStatus();
                           },
                       .clock = clock_},
                      chosen);
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
    try {
      app.parse(reversed);
    } catch (const CLI::ParseError& error) {
      return absl::InvalidArgumentError(error.what());
    }
    return chosen();
  }
  static int ExitOf(const absl::Status& status) { return static_cast<int>(ExitCodeFor(status)); }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  TempDir dir_ = *TempDir::Create("policy-commands");
  testing::SimClock clock_;
  wire::Plan plan_;
  std::vector<std::vector<std::string>> table_;
  nlohmann::json json_;
  std::vector<std::string> recorded_;
};

TEST_F(PolicyCommandsTest, ShowPrintsWhatHoldsAndWhereItIsFrom) {
  ASSERT_TRUE(Run({"policy", "show", "--home", dir_.path()}).ok());
  EXPECT_THAT(table_, Contains(ElementsAre("policy.yaml", "absent: the defaults hold")));
  EXPECT_EQ(json_["policy"]["secure_aggregation"]["min_cohort"], 3);
  EXPECT_TRUE(json_["sha256"].is_null());
  WritePolicy("policy.yaml", "secure_aggregation: {min_cohort: 5}");
  ASSERT_TRUE(Run({"policy", "show", "--home", dir_.path(), "--output", "json"}).ok());
  EXPECT_EQ(json_["policy"]["secure_aggregation"]["min_cohort"], 5);
  WritePolicy("policy.yaml", "min_cohort: 5");
  EXPECT_EQ(ExitOf(Run({"policy", "show", "--home", dir_.path()})), 2);
}

TEST_F(PolicyCommandsTest, CheckEndsWithTheCodeOfWhatIsWrong) {
  EXPECT_EQ(ExitOf(Run({"policy", "check", WritePolicy("good.yaml", "{}")})), 0);
  EXPECT_EQ(ExitOf(Run({"policy", "check", WritePolicy("bad.yaml", "protection: x")})), 2);
  EXPECT_EQ(ExitOf(Run({"policy", "check", Path("absent.yaml")})), 3);
  EXPECT_EQ(ExitOf(Run({"policy", "check"})), 2);
}

TEST_F(PolicyCommandsTest, APlanOfThreeDoesNotKeepToAPolicyOfFive) {
  const std::string five = WritePolicy("five.yaml", "secure_aggregation: {min_cohort: 5}");
  absl::Status status = Run({"policy", "check", five, "--plan", Path("plan.json")});
  EXPECT_EQ(ExitOf(status), 1);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("(secure_aggregation.min_cohort): wants at least 5 sites in a sum; got 3"));
  EXPECT_THAT(table_, Contains(ElementsAre("secure_aggregation.min_cohort", "refused",
                                           "at least 5 sites in a sum", "3 promised by the plan")));
  plan_.protection.min_cohort = 5;
  WritePlan();
  EXPECT_EQ(ExitOf(Run({"policy", "check", five, "--plan", Path("plan.json")})), 0);
  status = Run({"policy", "check", five, "--plan", Path("plan.json"), "--sites", "4"});
  EXPECT_EQ(ExitOf(status), 1);
  EXPECT_THAT(std::string(status.message()), HasSubstr("got 4 in the round"));
}

TEST_F(PolicyCommandsTest, WhatOnlyARoundKnowsIsLeftOpen) {
  const std::string file = WritePolicy("p.yaml",
                                       "{peers: {deny: [acme]}, approval: each-plan, training: "
                                       "{hours: [\"03:00-03:01\"], rounds_per_day: 1}}");
  EXPECT_EQ(ExitOf(Run({"policy", "check", file, "--plan", Path("plan.json")})), 0);
  std::map<std::string, std::string> verdicts;
  for (const auto& finding : json_) verdicts[finding["clause"]] = finding["verdict"];
  EXPECT_EQ(verdicts["peers.deny"], "not known yet");
  EXPECT_EQ(verdicts["approval"], "not known yet");
  EXPECT_FALSE(verdicts.contains("training.hours"));
  EXPECT_EQ(
      ExitOf(Run({"policy", "check", file, "--plan", Path("plan.json"), "--home", dir_.path()})),
      1);
}

TEST_F(PolicyCommandsTest, ABadPlanIsAUsageError) {
  ASSERT_TRUE(WriteFileAtomic(Path("plan.json"), "{}").ok());
  const std::string policy = WritePolicy("good.yaml", "{}");
  EXPECT_EQ(ExitOf(Run({"policy", "check", policy, "--plan", Path("plan.json")})), 2);
  EXPECT_EQ(ExitOf(Run({"policy", "check", policy, "--plan", Path("absent.json")})), 3);
}

TEST_F(PolicyCommandsTest, ApprovalIsRecordedAndLetsThePlanIn) {
  const std::string digest = privacy::Sha256Hex(wire::PlanToJson(plan_));
  const std::string file = WritePolicy("p.yaml", "approval: each-plan");
  const std::vector<std::string> check = {"policy",          "check",  file,       "--plan",
                                          Path("plan.json"), "--home", dir_.path()};
  EXPECT_EQ(ExitOf(Run(check)), 1);
  EXPECT_EQ(ExitOf(Run({"policy", "approve", "hippocampus", "--home", dir_.path()})), 2);
  EXPECT_EQ(
      ExitOf(Run({"policy", "approve", "hippocampus", "--plan", "abc", "--home", dir_.path()})), 2);
  EXPECT_THAT(recorded_, IsEmpty());
  ASSERT_TRUE(
      Run({"policy", "approve", "hippocampus", "--plan", digest, "--home", dir_.path()}).ok());
  EXPECT_THAT(recorded_, ElementsAre(absl::StrCat("policy.approve hippocampus ", digest)));
  EXPECT_EQ(ExitOf(Run(check)), 0);
  ASSERT_TRUE(Run({"policy", "approve", "hippocampus", "--withdraw", "--home", dir_.path()}).ok());
  EXPECT_EQ(recorded_.back(), "policy.withdraw hippocampus ");
  EXPECT_EQ(ExitOf(Run(check)), 1);
}

TEST_F(PolicyCommandsTest, BudgetSaysWhatWasSpentAndNeverOfWhom) {
  ASSERT_TRUE(Run({"budget", "--home", dir_.path()}).ok());
  EXPECT_EQ(json_["patients"], 0);
  WritePolicy("policy.yaml", "budget: {epsilon: 8, delta: 1e-5}");
  {
    auto ledger = *BudgetLedger::Open(dir_.path(), SpentEpsilonOf, clock_);
    ASSERT_TRUE(ledger
                    ->Reserve({"anna", "ben"},
                              {"hippocampus", 1, "t/1", {Mechanism::kGaussian, 0.1, 2, 20}, 1e-5},
                              ReadPolicy(dir_.path())->policy.budget)
                    .ok());
  }
  ASSERT_TRUE(Run({"budget", "--home", dir_.path(), "--output", "json"}).ok());
  EXPECT_EQ(json_["patients"], 2);
  const double spent = json_["epsilon"];
  EXPECT_GT(spent, 0.1);
  EXPECT_LT(spent, 2);
  EXPECT_DOUBLE_EQ(json_["remaining"], 8 - spent);
  EXPECT_THAT(json_.dump(), ::testing::Not(HasSubstr("anna")));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(dir_.path(), "policy/ledger.head"), "x").ok());
  EXPECT_EQ(ExitOf(Run({"budget", "--home", dir_.path()})), 5);
}

}  // namespace
}  // namespace consilium::agent
