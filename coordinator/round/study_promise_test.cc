#include "coordinator/round/study_promise.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

StudySpec Read(const std::string& aggregation, const std::string& lines,
               const std::string& rounds = "count: 20") {
  const auto spec =
      ParseStudy(absl::StrCat("name: hippo\ntask: {labels: {1: Anterior}}\naggregation: {",
                              aggregation, "}\nrounds: {", rounds, "}\n", lines));
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : StudySpec();
}

StudyPromise Of(const std::string& aggregation, const std::string& lines,
                const std::string& rounds = "count: 20") {
  return PromiseOf(Read(aggregation, lines, rounds), nullptr);
}

// Each line of a two-level network written out: MONAI's DynUNet of these features and strides.
TEST(ParameterCountTest, IsTheSumOfTheNetworksTensors) {
  wire::Plan plan;
  plan.labels = {{1, "a", ""}, {2, "b", ""}};
  plan.network.features = {4, 6};
  plan.network.strides_xyz = {{1, 1, 1}, {2, 2, 1}};
  const int64_t input_block = 4 * 1 * 27 + 4 * 4 * 27 + 4 * 4;
  const int64_t bottleneck = 6 * 4 * 27 + 6 * 6 * 27 + 4 * 6;
  const int64_t transposed = 6 * 4 * 2 * 2 * 1;
  const int64_t up_block = 4 * 8 * 27 + 4 * 4 * 27 + 4 * 4;
  const int64_t output_block = 3 * 4 + 3;
  EXPECT_EQ(ParameterCount(plan), input_block + bottleneck + transposed + up_block + output_block);
}

TEST(StudyPromiseTest, SealedSaysThatTheCoordinatorReadsUpdates) {
  const StudyPromise of_two = Of("min_sites: 2", "", "quorum: 1");
  EXPECT_THAT(of_two.promises, Contains(AllOf(StartsWith("protection: sealed"),
                                              HasSubstr("coordinator opens each update"))));
  EXPECT_THAT(of_two.promises,
              Contains(AllOf(StartsWith("drop-outs:"), HasSubstr("1 may be missing"))));
  EXPECT_THAT(of_two.warnings, Contains(HasSubstr("fewer than 3 sites")));
  EXPECT_THAT(Of("min_sites: 5", "protection: sealed\n").warnings,
              Contains(HasSubstr("would work here")));
  EXPECT_THAT(Of("min_sites: 5, rule: median", "").warnings,
              Not(Contains(HasSubstr("would work"))));
}

TEST(StudyPromiseTest, MaskedSaysWhoReadsWhatAndHowManyMayDropOut) {
  const StudyPromise ten = Of("min_sites: 10", "", "quorum: 7");
  EXPECT_THAT(ten.promises, Contains(AllOf(HasSubstr("words of 32 bits"),
                                           HasSubstr("never of fewer than 3 sites"))));
  EXPECT_THAT(ten.promises, Contains(HasSubstr("opened by 7, so 3 may drop out")));
  EXPECT_THAT(ten.warnings, Not(Contains(HasSubstr("protection"))));
  EXPECT_THAT(ten.warnings, Not(Contains(HasSubstr("quorum"))));

  const StudyPromise three = Of("min_sites: 3", "");
  EXPECT_THAT(three.promises, Contains(HasSubstr("opened by 3, so 0 may drop out")));
  EXPECT_THAT(three.warnings, Contains(HasSubstr("fewer than 5 sites")));

  // The larger of threshold and quorum, and a warning where the quorum is the smaller.
  EXPECT_THAT(Of("min_sites: 10", "", "quorum: 4").warnings,
              Contains(AllOf(HasSubstr("rounds.quorum: is 4"), HasSubstr("needs 7"))));
  EXPECT_THAT(Of("min_sites: 10", "", "quorum: 9").promises,
              Contains(HasSubstr("opened by 9, so 1 may drop out")));
}

TEST(StudyPromiseTest, GroupsStandAloneAndAMedianStandsHostileGroups) {
  const StudyPromise groups =
      Of("min_sites: 20, rule: median, hostile: 1", "protection: {group: 4}\n", "quorum: 17");
  EXPECT_THAT(groups.promises, Contains(HasSubstr("in groups of 4")));
  EXPECT_THAT(groups.promises,
              Contains(AllOf(HasSubstr("of 20 sites 3 may be missing"), HasSubstr("1 of a group"),
                             HasSubstr("of the 5 groups 2 may be lost"))));
  // A median of three groups does not stand two hostile ones.
  EXPECT_THAT(Of("min_sites: 20, rule: median, hostile: 2", "protection: {group: 4}\n").promises,
              Contains(HasSubstr("of the 5 groups 0 may be lost")));
  EXPECT_THAT(groups.promises, Contains(HasSubstr("median of 5 groups stands 1 hostile")));
  EXPECT_THAT(Of("min_sites: 9, rule: median", "protection: {group: 3}\n").warnings,
              Contains(HasSubstr("none of a group of 3")));
}

TEST(StudyPromiseTest, TrafficIsOfTheNetworkAndItsWords) {
  const StudySpec spec = Read("min_sites: 5", "");
  const double parameters = static_cast<double>(ParameterCount(ProvisionalPlan(spec)));
  const auto says = [&](double bytes) {
    return Contains(
        AllOf(StartsWith("traffic:"),
              HasSubstr(absl::StrFormat(" %.1f MB a round", parameters * bytes / 1e6))));
  };
  EXPECT_THAT(PromiseOf(spec, nullptr).promises, says(4));
  EXPECT_THAT(Of("min_sites: 5", "protection: {bits: 16}\n").promises, says(2));
  EXPECT_THAT(Of("min_sites: 5", "algorithm: scaffold\n").promises, says(8));
  // The fixed plan decides, once there is one.
  wire::Plan fixed = ProvisionalPlan(spec);
  fixed.network.strides_xyz.back() = {1, 1, 1};
  EXPECT_NE(PromiseOf(spec, &fixed).promises, PromiseOf(spec, nullptr).promises);
}

TEST(StudyPromiseTest, RulesSayWhatTheyStand) {
  EXPECT_THAT(Of("min_sites: 5", "").promises, Contains(StartsWith("robustness: none")));
  EXPECT_THAT(Of("min_sites: 7, rule: multi_krum, hostile: 2", "").promises,
              Contains(HasSubstr("multi_krum of 7 updates or more stands 2 hostile")));
  EXPECT_THAT(
      Of("min_sites: 7, rule: fltrust, root: centre", "sites: {required: [centre]}\n").promises,
      Contains(HasSubstr("measured by the update of centre")));
  EXPECT_THAT(Of("min_sites: 7, rule: median", "").warnings, Contains(HasSubstr("hostile: 1")));
}

TEST(StudyPromiseTest, WithoutALevelThereIsNoGuarantee) {
  const StudyPromise none = Of("min_sites: 5", "");
  EXPECT_THAT(none.warnings, Contains(StartsWith("privacy: no guarantee")));
  EXPECT_THAT(none.promises, Not(Contains(StartsWith("privacy"))));
}

TEST(StudyPromiseTest, SiteLevelSaysItsPromiseAndThatTheNoiseDrownsTheSignal) {
  const auto run = StudyRun::Create(
      "name: h\ntask: {labels: {1: A}}\naggregation: {min_sites: 10}\nrounds: {count: 20}\n"
      "protection: {clip: 8}\nprivacy: {level: site, epsilon: 4, delta: 0.01, clip: 0.5}\n",
      "run", absl::UnixEpoch());
  ASSERT_TRUE(run.ok()) << run.status();
  const StudyPromise promise = PromiseOf(run->spec(), nullptr);
  EXPECT_THAT(promise.promises,
              Contains(AllOf(StartsWith("privacy: of a whole site, epsilon 4, delta 0.01"),
                             HasSubstr("20 rounds"))));
  EXPECT_THAT(promise.promises, Contains(AllOf(StartsWith("cost:"), HasSubstr("10 sites"))));
  EXPECT_THAT(promise.warnings, Contains(HasSubstr("times the largest signal")));
  EXPECT_THAT(promise.warnings, Not(Contains(HasSubstr("no guarantee"))));
}

TEST(StudyPromiseTest, SampleLevelSaysItsPromiseAndItsCostOnceTheStepsAreKnown) {
  const std::string sample = "privacy: {level: sample, epsilon: 8, delta: 1e-4, clip: 1}\n";
  const StudyPromise open = Of("min_sites: 5", sample);
  EXPECT_THAT(open.promises,
              Contains(AllOf(StartsWith("privacy: of a patient, epsilon 8, delta 0.0001"),
                             HasSubstr("stops at its budget"))));
  EXPECT_THAT(open.promises, Contains(HasSubstr("when the plan is fixed")));
  EXPECT_THAT(open.warnings, Contains(HasSubstr("Dice of held-out cases")));
  EXPECT_THAT(open.warnings, Not(Contains(HasSubstr("no guarantee"))));

  const StudyPromise known = Of("min_sites: 5", sample + "plan: {steps_per_round: 25}\n");
  EXPECT_THAT(known.promises, Contains(AllOf(HasSubstr("in each of 500 steps"),
                                             HasSubstr("a site of 100 patients"))));
  wire::Plan fixed = ProvisionalPlan(Read("min_sites: 5", sample));
  fixed.training.steps_per_round = 10;
  EXPECT_THAT(PromiseOf(Read("min_sites: 5", sample), &fixed).promises,
              Contains(HasSubstr("in each of 200 steps")));

  EXPECT_THAT(Of("min_sites: 5", sample + "algorithm: {personal_lambda: 1}\n").warnings,
              Contains(HasSubstr("trained without noise")));
}

}  // namespace
}  // namespace consilium::coordinator
