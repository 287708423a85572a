#include "proto/wire/plan.h"

#include <iterator>

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

Plan PlanWithTerms() {
  Plan plan = ValidPlan();
  plan.purpose = "research";
  plan.protection = {"secure-aggregation", 12.5, 16, 0.05, 4, 5};
  plan.privacy = {"sample", 8, 1e-4, 0.1, 16, 0};
  plan.algorithm = {"fedprox", 0.01, {"*.norm*", "output_block.*"}, 0.5};
  return plan;
}

TEST(PlanTest, TermsRoundTripExactlyAndEachOfThemChangesTheText) {
  const Plan plan = PlanWithTerms();
  const auto back = PlanFromJson(PlanToJson(plan));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, plan);
  EXPECT_EQ(PlanToJson(*back), PlanToJson(plan));

  void (*const changes[])(Plan&) = {
      [](Plan& p) { p.purpose = "diagnosis"; },
      [](Plan& p) { p.protection.kind = "sealed"; },
      [](Plan& p) { p.protection.norm_max = 13; },
      [](Plan& p) { p.protection.bits = 32; },
      [](Plan& p) { p.protection.clip = 0.1; },
      [](Plan& p) { p.protection.min_cohort = 5; },
      [](Plan& p) { p.protection.group = 0; },
      [](Plan& p) { p.privacy.level = "site"; },
      [](Plan& p) { p.privacy.epsilon = 9; },
      [](Plan& p) { p.privacy.delta = 1e-5; },
      [](Plan& p) { p.privacy.clip = 0.2; },
      [](Plan& p) { p.privacy.patients_per_step = 8; },
      [](Plan& p) { p.privacy.noise_multiplier = 1; },
      [](Plan& p) { p.algorithm.kind = "fedavg"; },
      [](Plan& p) { p.algorithm.proximal_mu = 0.02; },
      [](Plan& p) { p.algorithm.local_layers.pop_back(); },
      [](Plan& p) { p.algorithm.personal_lambda = 0; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    Plan changed = PlanWithTerms();
    changes[i](changed);
    EXPECT_NE(PlanToJson(changed), PlanToJson(plan)) << i;
    EXPECT_EQ(PlanFromJson(PlanToJson(changed)).value(), changed) << i;
  }
}

// The text, and so the digest, of a plan without terms is that of the releases which had none.
TEST(PlanTest, PlanWithoutTermsKeepsItsText) {
  const std::string text =
      R"({"labels":[{"code":"HIPPOCAMPUS_ANTERIOR","name":"Anterior hippocampus","value":1},)"
      R"({"code":"","name":"Posterior","value":2}],"modality":"MR",)"
      R"("network":{"features":[16,32,64,128],"in_channels":1,"kind":"unet",)"
      R"("strides_xyz":[[1,1,1],[2,2,2],[2,2,2],[2,2,2]]},"normalisation":"z-score",)"
      R"("series_rules":[{"condition":"!LOCALIZER","keyword":"ImageType"},)"
      R"({"condition":"<= 3","keyword":"SliceThickness"}],"spacing_xyz_mm":[1.0,1.0,1.0],)"
      R"("study":"hippocampus","training":{"augment":true,"batch":2,"consistency_rampup_steps":200,)"
      R"("consistency_weight":0.1,"ema_decay":0.99,"foreground_fraction":0.5,)"
      R"("learning_rate":0.003,"local_validation_fraction":0.2,)"
      R"("mirror_xyz":[false,false,false],"patch_xyz":[40,56,40],"rounds":20,"seed":0,)"
      R"("semi_supervised":"mean_teacher","steps_per_round":20,"weight_decay":1e-05}})";
  EXPECT_EQ(PlanToJson(ValidPlan()), text);
  EXPECT_EQ(PlanFromJson(text).value(), ValidPlan());
}

TEST(PlanTest, TermsAreReadStrictly) {
  const auto good = nlohmann::json::parse(PlanToJson(PlanWithTerms()));
  for (const char* section : {"protection", "privacy", "algorithm"}) {
    for (const auto& item : good[section].items()) {
      const std::string key = std::string(section) + "." + item.key();
      auto json = good;
      json[section].erase(item.key());
      EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr(key));
      json[section][item.key()] = nlohmann::json::object();
      EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr(key));
    }
    auto json = good;
    json[section]["more"] = 1;
    EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr(std::string(section) + ".more"));
    json[section] = "sealed";
    EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr(section));
  }
}

TEST(PlanTest, TermsOutOfRangeAreRefusedByName) {
  const struct {
    const char* key;
    void (*spoil)(Plan&);
  } cases[] = {
      {"purpose", [](Plan& p) { p.purpose = "a\nb"; }},
      {"purpose", [](Plan& p) { p.purpose = std::string(129, 'a'); }},
      {"protection.kind", [](Plan& p) { p.protection.kind = "plain"; }},
      {"protection.bits", [](Plan& p) { p.protection.bits = 64; }},
      {"protection.norm_max", [](Plan& p) { p.protection.norm_max = -1; }},
      {"protection.clip", [](Plan& p) { p.protection.clip = 0; }},
      {"protection.clip", [](Plan& p) { p.protection.clip = 65; }},
      {"protection.min_cohort", [](Plan& p) { p.protection.min_cohort = 2; }},
      {"protection.min_cohort", [](Plan& p) { p.protection.min_cohort = 256; }},
      {"protection.group", [](Plan& p) { p.protection.group = 2; }},
      {"privacy.level", [](Plan& p) { p.privacy.level = "patient"; }},
      {"privacy.epsilon", [](Plan& p) { p.privacy.epsilon = 0; }},
      {"privacy.delta", [](Plan& p) { p.privacy.delta = 0.5; }},
      {"privacy.delta", [](Plan& p) { p.privacy.delta = 0; }},
      {"privacy.clip", [](Plan& p) { p.privacy.clip = 0; }},
      {"privacy.patients_per_step", [](Plan& p) { p.privacy.patients_per_step = 0.5; }},
      {"privacy.noise_multiplier", [](Plan& p) { p.privacy.noise_multiplier = -1; }},
      {"algorithm.kind", [](Plan& p) { p.algorithm.kind = "fedsgd"; }},
      {"algorithm.proximal_mu", [](Plan& p) { p.algorithm.proximal_mu = -1; }},
      {"algorithm.personal_lambda", [](Plan& p) { p.algorithm.personal_lambda = 1e4; }},
      {"algorithm.local_layers", [](Plan& p) { p.algorithm.local_layers = {""}; }},
      {"algorithm.local_layers",
       [](Plan& p) { p.algorithm.local_layers = std::vector<std::string>(65, "a"); }},
  };
  for (const auto& c : cases) {
    Plan plan = PlanWithTerms();
    c.spoil(plan);
    EXPECT_THAT(Message(PlanFromJson(PlanToJson(plan))), HasSubstr(c.key));
  }
}

Plan PlanOfTwoChannels() {
  Plan plan = ValidPlan();
  plan.modality = "CT";
  plan.normalisation = "window soft-tissue";
  plan.channels = {{"PT", {{"ImageType", "!DERIVED"}}, "suv window 5 10"}};
  plan.coverage_min = 0.8;
  plan.network.in_channels = 2;
  return plan;
}

TEST(PlanTest, FurtherChannelsAreInTheTextAndComeBack) {
  const Plan plan = PlanOfTwoChannels();
  EXPECT_THAT(PlanToJson(plan),
              HasSubstr(R"("channels":[{"modality":"PT","normalisation":"suv window 5 10",)"
                        R"("series_rules":[{"condition":"!DERIVED","keyword":"ImageType"}]}],)"
                        R"("coverage_min":0.8,)"));
  EXPECT_EQ(PlanFromJson(PlanToJson(plan)).value(), plan);
  auto json = nlohmann::json::parse(PlanToJson(plan));
  json.erase("coverage_min");
  EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr("coverage_min"));
  json = nlohmann::json::parse(PlanToJson(plan));
  json["channels"] = nlohmann::json::array();
  EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr("channels: must not be empty"));
  json = nlohmann::json::parse(PlanToJson(plan));
  json["channels"][0]["moda"] = 1;
  EXPECT_THAT(Message(PlanFromJson(json.dump())), HasSubstr("channels[0].moda"));
}

TEST(PlanTest, ChannelsThatCannotWorkAreRefusedByName) {
  const struct {
    const char* key;
    void (*spoil)(Plan&);
  } cases[] = {
      {"network.in_channels", [](Plan& p) { p.network.in_channels = 1; }},
      {"network.in_channels", [](Plan& p) { p.channels.clear(); }},
      {"channels[0].modality", [](Plan& p) { p.channels[0].modality = ""; }},
      {"channels[0].series_rules", [](Plan& p) { p.channels[0].series_rules = {{"Rows", "1"}}; }},
      {"channels[0].normalisation", [](Plan& p) { p.channels[0].normalisation = "suv"; }},
      {"channels[0].normalisation", [](Plan& p) { p.channels[0].modality = "NM"; }},
      {"plan: normalisation", [](Plan& p) { p.normalisation = "suv range"; }},
      {"plan: channels: at most", [](Plan& p) { p.channels.resize(8, p.channels[0]); }},
      {"coverage_min", [](Plan& p) { p.coverage_min = 1.1; }},
  };
  for (const auto& c : cases) {
    Plan plan = PlanOfTwoChannels();
    c.spoil(plan);
    EXPECT_THAT(std::string(CheckPlan(plan).message()), HasSubstr(c.key));
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
