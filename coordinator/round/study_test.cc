#include "coordinator/round/study.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "coordinator/round/capabilities.h"
#include "coordinator/round/planner.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kStudy = R"(name: hippocampus
task: {labels: {1: Anterior hippocampus, 2: Posterior hippocampus}, codes: {1: HIPPOCAMPUS_ANTERIOR}}
series: {modality: MR, rules: [{ImageType: "!LOCALIZER"}, {SliceThickness: "<= 3"}]}
plan: auto
network: unet
semi_supervised: mean_teacher
aggregation: {strategy: fedavg, server_optimizer: none, min_sites: 3}
protection: sealed
privacy: {level: none}
rounds: {count: 12, local_epochs: 1, deadline: 2h, quorum: 2}
)";

std::string ErrorOf(const std::string& yaml) {
  const auto spec = ParseStudy(yaml);
  EXPECT_FALSE(spec.ok()) << yaml;
  return std::string(spec.status().message());
}
std::string With(const std::string& extra) { return absl::StrCat(kStudy, extra); }
std::string Replaced(const char* from, const char* to) {
  return absl::StrReplaceAll(kStudy, {{from, to}});
}

TEST(StudyTest, ReadsTheDesignsExample) {
  const auto spec = ParseStudy(kStudy);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name, "hippocampus");
  ASSERT_EQ(spec->labels.size(), 2u);
  EXPECT_EQ(spec->labels[0].code, "HIPPOCAMPUS_ANTERIOR");
  EXPECT_EQ(spec->labels[1].name, "Posterior hippocampus");
  EXPECT_EQ(spec->rules[1].condition, "<= 3");
  EXPECT_EQ(spec->deadline, absl::Hours(2));
  EXPECT_EQ(spec->quorum, 2);
  EXPECT_FALSE(spec->plan.patch_xyz.has_value());
}

TEST(StudyTest, YamlWithDefaultsReadsBackToTheSame) {
  const auto spec = ParseStudy(With("plan: {patch_xyz: [40, 56, 40], batch: 3}\n").replace(
      std::string(kStudy).find("plan: auto\n"), 11, ""));
  ASSERT_TRUE(spec.ok()) << spec.status();
  const std::string yaml = StudyToYaml(*spec);
  for (const char* key : {"unlabelled_weight: 0.2", "protection: sealed", "every: 0", "seed: 0",
                          "learning_rate: 0.003", "spacing_xyz_mm: auto", "deadline: 2h"}) {
    EXPECT_THAT(yaml, HasSubstr(key));
  }
  const auto again = ParseStudy(yaml);
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << yaml;
  EXPECT_EQ(StudyToYaml(*again), yaml);
  EXPECT_EQ(again->plan.patch_xyz, spec->plan.patch_xyz);
}

TEST(StudyTest, NormalisationIsReadWrittenAndJudged) {
  const auto spec = ParseStudy(Replaced("plan: auto", "plan: {normalisation: window brain z-score}"));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->plan.normalisation, "window brain z-score");
  const auto again = ParseStudy(StudyToYaml(*spec));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->plan.normalisation, "window brain z-score");
  EXPECT_THAT(ErrorOf(Replaced("plan: auto", "plan: {normalisation: window liver}")),
              AllOf(HasSubstr("plan.normalisation (line 4)"), HasSubstr("soft-tissue")));
}

constexpr const char* kSeries =
    "series: {modality: MR, rules: [{ImageType: \"!LOCALIZER\"}, {SliceThickness: \"<= 3\"}]}";
constexpr const char* kTwoSeries =
    "series: [{modality: CT, rules: [{SliceThickness: \"<= 3\"}], normalisation: window lung}, "
    "{modality: PT, normalisation: suv window 5 10}]";

TEST(StudyTest, ListOfSeriesIsTheInputChannels) {
  const auto spec = ParseStudy(Replaced(kSeries, kTwoSeries));
  ASSERT_TRUE(spec.ok()) << spec.status();
  const wire::Plan plan = ProvisionalPlan(*spec);
  EXPECT_EQ(plan.modality, "CT");
  EXPECT_EQ(plan.normalisation, "window lung");
  EXPECT_EQ(plan.series_rules.size(), 1u);
  EXPECT_EQ(plan.channels, (std::vector<wire::PlanChannel>{{"PT", {}, "suv window 5 10"}}));
  EXPECT_EQ(plan.network.in_channels, 2);
  EXPECT_EQ(plan.coverage_min, 0.5);
  EXPECT_EQ(CapabilitiesNeeded(*spec) & kCanChannels, kCanChannels);
  EXPECT_EQ(CapabilitiesNeeded(*ParseStudy(kStudy)) & kCanChannels, 0u);
  EXPECT_EQ(StudyToYaml(*ParseStudy(StudyToYaml(*spec))), StudyToYaml(*spec));
  EXPECT_EQ(ProvisionalPlan(*ParseStudy(StudyToYaml(*spec))), plan);
  // A list of one is the mapping.
  const auto one = ParseStudy(Replaced(kSeries, "series: [{modality: CT, normalisation: range}]"));
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_TRUE(one->channels.empty());
  EXPECT_EQ(one->plan.normalisation, "range");
}

TEST(StudyTest, ChannelsThatCannotWorkAreRefusedByName) {
  const struct {
    const char *series, *plan;
    const char* says;
  } cases[] = {
      {"series: []", "plan: auto", "series (line 3): must be a mapping"},
      {"series: CT", "plan: auto", "series (line 3): must be a mapping"},
      {"series: [CT]", "plan: auto", "series[0] (line 3)"},
      {"series: [{modality: CT}, {modalty: PT}]", "plan: auto", "series[1].modalty (line 3)"},
      {"series: [{modality: CT}, {modality: PT, normalisation: suv}]", "plan: auto",
       "series[1].normalisation (line 3)"},
      {"series: [{modality: CT}, {modality: MR, normalisation: suv range}]", "plan: auto",
       "channels[0].normalisation: suv is for modality PT"},
      {"series: [{modality: CT}, {rules: [{Rows: 5}]}]", "plan: auto",
       "channels[0].series_rules: Rows"},
      {"series: [{modality: CT}, {modality: PT}]", "plan: {normalisation: range}",
       "plan.normalisation (line 4): with several channels"},
      {"series: [{modality: CT}, {modality: PT}]", "plan: {coverage_min: 2}", "coverage_min"},
      {"series: {modality: CT}", "plan: {coverage_min: 0.5}", "plan.coverage_min (line 4)"},
      {"series: [{}, {}, {}, {}, {}, {}, {}, {}, {}]", "plan: auto", "at most 8"},
  };
  for (const auto& c : cases) {
    const std::string yaml =
        absl::StrReplaceAll(kStudy, {{kSeries, c.series}, {"plan: auto", c.plan}});
    EXPECT_THAT(ErrorOf(yaml), HasSubstr(c.says)) << c.series << " " << c.plan;
  }
}

TEST(StudyTest, UnknownKeyIsNamedWithItsLineAndTheKnownOnes) {
  EXPECT_THAT(ErrorOf(With("roundz: 3\n")),
              AllOf(HasSubstr("roundz"), HasSubstr("line 11"), HasSubstr("evaluation")));
  EXPECT_THAT(ErrorOf(Replaced("quorum: 2", "quorom: 2")),
              AllOf(HasSubstr("rounds.quorom"), HasSubstr("quorum")));
}

TEST(StudyTest, RepeatedAndMissingKeysAreErrors) {
  EXPECT_THAT(ErrorOf(With("network: unet\n")), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf("name: x\n"), AllOf(HasSubstr("task"), HasSubstr("missing")));
  EXPECT_THAT(ErrorOf("[1, 2"), HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf("just text"), HasSubstr("mapping"));
}

TEST(StudyTest, WhatCannotWorkIsRefusedWithTheReason) {
  const struct {
    const char *from, *to, *says;
  } cases[] = {
      {"quorum: 2", "quorum: 4", "could never end"},
      {"quorum: 2", "quorum: 0", "rounds.quorum"},
      {"deadline: 2h", "deadline: 0s", "rounds.deadline"},
      {"deadline: 2h", "deadline: soon", "30m"},
      {"count: 12", "count: many", "whole number"},
      {"level: none", "level: patient", "sample or site"},
      {"strategy: fedavg", "strategy: median", "fedavg"},
      {"network: unet", "network: swin_unetr", "not there yet"},
      {"{1: Anterior hippocampus,", "{3: Anterior hippocampus,", "without a gap"},
      {"codes: {1:", "codes: {7:", "no label"},
      {"plan: auto", "plan: {patch_xyz: [41, 56, 40], strides_xyz: [[1,1,1],[2,2,2]], features: [16,32]}",
       "patch_xyz"},
      {"plan: auto", "plan: {batch: 900}", "batch"},
      {"name: hippocampus", "name: Bad Name", "name"},
  };
  for (const auto& c : cases) EXPECT_THAT(ErrorOf(Replaced(c.from, c.to)), HasSubstr(c.says)) << c.to;
}

TEST(StudyTest, RequiredSitesAndLeaseAreReadAndJudged) {
  const auto spec = ParseStudy(absl::StrCat(Replaced("quorum: 2", "quorum: 2, lease: 90s"),
                                            "sites: {required: [amc]}\n"));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->lease, absl::Seconds(90));
  EXPECT_TRUE(spec->IsRequired("amc"));
  EXPECT_EQ(StudyToYaml(*ParseStudy(StudyToYaml(*spec))), StudyToYaml(*spec));
  EXPECT_THAT(ErrorOf(With("sites: {required: [amc], evaluators: [amc]}\n")),
              HasSubstr("only evaluates"));
  EXPECT_THAT(ErrorOf(With("sites: {required: [amc, amc]}\n")), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf(Replaced("quorum: 2", "quorum: 2, lease: 2s")), HasSubstr("rounds.lease"));
  EXPECT_EQ(spec->stall, kStallDefault);
  EXPECT_EQ(ParseStudy(Replaced("quorum: 2", "quorum: 2, stall: 45m"))->stall, absl::Minutes(45));
  for (const char* wrong : {"29s", "25h"}) {
    EXPECT_THAT(ErrorOf(Replaced("quorum: 2", absl::StrCat("quorum: 2, stall: ", wrong).c_str())),
                HasSubstr("rounds.stall"));
  }
}

TEST(StudyTest, AsynchronousStudyIsReadAndJudged) {
  const char* sync = "strategy: fedavg, server_optimizer: none, min_sites: 3";
  const auto spec = ParseStudy(
      Replaced(sync, "strategy: fedbuff, min_sites: 3, buffer: 2, staleness_exponent: 1"));
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->strategy, Strategy::kFedBuff);
  EXPECT_EQ(spec->buffer, 2);
  EXPECT_EQ(spec->staleness_exponent, 1);
  EXPECT_EQ(StudyToYaml(*ParseStudy(StudyToYaml(*spec))), StudyToYaml(*spec));
  EXPECT_THAT(ErrorOf(Replaced(sync, "strategy: fedbuff, min_sites: 3")), HasSubstr("buffer"));
  EXPECT_THAT(ErrorOf(Replaced(sync, "strategy: fedbuff, min_sites: 3, buffer: 4")),
              HasSubstr("might never fill"));
  EXPECT_THAT(ErrorOf(Replaced(sync, "min_sites: 3, buffer: 2")), HasSubstr("fedbuff"));
  EXPECT_THAT(ErrorOf(Replaced(sync, "strategy: fedbuff, min_sites: 3, buffer: 2") +
                      "sites: {required: [amc]}\n"),
              HasSubstr("cannot require"));
}

}  // namespace
}  // namespace consilium::coordinator
