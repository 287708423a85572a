#include "proto/wire/plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace consilium::wire {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Plan ValidPlan() {
  Plan plan;
  plan.study = "hippocampus";
  plan.labels = {{1, "Anterior hippocampus", "HIPPOCAMPUS_ANTERIOR"}, {2, "Posterior", ""}};
  plan.series_rules = {{"ImageType", "!LOCALIZER"}, {"SliceThickness", "<= 3"}};
  return plan;
}

std::string Message(const absl::StatusOr<Plan>& plan) {
  return std::string(plan.status().message());
}

TEST(PlanTest, JsonRoundTripIsExact) {
  const Plan plan = ValidPlan();
  const auto back = PlanFromJson(PlanToJson(plan));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, plan);
  EXPECT_EQ(PlanToJson(*back), PlanToJson(plan));
}

TEST(PlanTest, UnknownKeyIsNamed) {
  auto json = nlohmann::json::parse(PlanToJson(ValidPlan()));
  json["training"]["learning_rat"] = 1;
  EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr("training.learning_rat"));
}

TEST(PlanTest, MissingKeyIsNamed) {
  auto json = nlohmann::json::parse(PlanToJson(ValidPlan()));
  json["network"].erase("kind");
  EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr("network.kind"));
}

TEST(PlanTest, ValuesOutOfRangeAreRefusedByName) {
  Plan plan = ValidPlan();
  plan.training.learning_rate = -1;
  EXPECT_THAT(Message(PlanFromJson(PlanToJson(plan))), HasSubstr("training.learning_rate"));
  plan = ValidPlan();
  plan.spacing_xyz_mm[1] = 0;
  EXPECT_THAT(Message(PlanFromJson(PlanToJson(plan))), HasSubstr("spacing_xyz_mm"));
  plan = ValidPlan();
  plan.training.patch_xyz = {41, 56, 40};
  EXPECT_THAT(Message(PlanFromJson(PlanToJson(plan))), HasSubstr("multiple"));
  plan = ValidPlan();
  plan.study = "../x";
  EXPECT_FALSE(PlanFromJson(PlanToJson(plan)).ok());
  plan = ValidPlan();
  plan.labels[1].value = 3;
  EXPECT_THAT(Message(PlanFromJson(PlanToJson(plan))), HasSubstr("gap"));
}

TEST(PlanTest, RuleThatNoSiteCanEvaluateIsRefused) {
  Plan plan = ValidPlan();
  plan.series_rules = {{"PatientName", "X"}};
  EXPECT_THAT(std::string(CheckPlan(plan).message()),
              AllOf(HasSubstr("PatientName"), HasSubstr("SliceThickness")));
  for (const char* condition : {"<= many", "<", "> inf", "!", " ", "! "}) {
    plan.series_rules = {{"SliceThickness", condition}};
    EXPECT_TRUE(absl::IsInvalidArgument(CheckPlan(plan))) << condition;
  }
  for (const char* condition : {"<= 3", ">1", "< 1e1", ">= -2", "!LOCALIZER", "PRIMARY"}) {
    plan.series_rules = {{"ImageType", condition}};
    EXPECT_TRUE(CheckPlan(plan).ok()) << condition << ": " << CheckPlan(plan);
  }
}

TEST(PlanTest, RefusesWhatIsNotAPlan) {
  EXPECT_FALSE(PlanFromJson("").ok());
  EXPECT_FALSE(PlanFromJson("[]").ok());
  EXPECT_FALSE(PlanFromJson("{").ok());
  EXPECT_FALSE(PlanFromJson(std::string(kPlanBytesMax + 1, ' ')).ok());
}

}  // namespace
}  // namespace consilium::wire
