#include "coordinator/round/study_privacy.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/dp/gaussian.h"

namespace consilium::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string SiteStudy(const std::string& privacy, const std::string& protection = "clip: 8",
                      int64_t rounds = 20, int64_t sites = 10) {
  return absl::StrCat("name: hippo\ntask: {labels: {1: A}}\naggregation: {min_sites: ", sites,
                      "}\nrounds: {count: ", rounds, "}\nprotection: {", protection,
                      "}\nprivacy: {level: site, epsilon: 4, delta: 0.01, clip: 0.5", privacy,
                      "}\n");
}

StudySpec Read(const std::string& yaml) {
  const auto spec = ParseStudy(yaml);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : StudySpec();
}

absl::StatusOr<StudySpec> Created(const std::string& yaml) {
  const auto run = StudyRun::Create(yaml, "run", absl::UnixEpoch());
  if (!run.ok()) return run.status();
  return run->spec();
}

TEST(SettleNoiseTest, IsTheLeastThatKeepsTheBudgetAndStaysWithTheStudy) {
  const auto spec = Created(SiteStudy(""));
  ASSERT_TRUE(spec.ok()) << spec.status();
  const double noise = spec->privacy.noise_multiplier;
  ASSERT_GT(noise, 0);
  EXPECT_LE(SitePromise(*spec, 1'000'000)->epsilon, 4);
  StudySpec less = *spec;
  less.privacy.noise_multiplier = noise * 0.999;
  EXPECT_FALSE(SettleNoise(less).ok());
  // Not below what the exact account of continuous noise allows, nor far above: the grid is fine.
  EXPECT_LE(dp::GaussianEpsilon(noise, 20, 0.01).value(), 4);
  EXPECT_GT(dp::GaussianEpsilon(noise * 0.8, 20, 0.01).value(), 4);

  // The record carries it, exactly.
  const StudySpec again = Read(StudyToYaml(*spec));
  EXPECT_EQ(again.privacy, spec->privacy);
  EXPECT_GT(Created(SiteStudy("", "clip: 8", 40))->privacy.noise_multiplier, noise * 1.3);
}

TEST(SettleNoiseTest, NoiseThatIsTooSmallIsRefusedWithTheOneToWrite) {
  const double least = Created(SiteStudy(""))->privacy.noise_multiplier;
  const auto enough = Created(SiteStudy(absl::StrCat(", noise_multiplier: ", least * 1.5)));
  ASSERT_TRUE(enough.ok()) << enough.status();
  EXPECT_NEAR(enough->privacy.noise_multiplier, least * 1.5, 1e-4);
  const auto refused = Created(SiteStudy(absl::StrCat(", noise_multiplier: ", least * 0.9)));
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("privacy.noise_multiplier"), HasSubstr("gives epsilon"),
                    HasSubstr("leave it out")));
}

TEST(SettleNoiseTest, WordsThatTheNoiseWouldWrapAroundAreRefusedWithTheClipToWrite) {
  const auto refused = Created(SiteStudy("", "clip: 0.6"));
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  const std::string message(refused.status().message());
  ASSERT_THAT(message, HasSubstr("write protection: {clip: "));
  const std::string wide =
      message.substr(message.find("{clip: ") + 1, message.find('}') - message.find("{clip: ") - 1);
  EXPECT_TRUE(Created(SiteStudy("", wide)).ok()) << wide;
}

TEST(SettleNoiseTest, ABudgetThatNoNoiseKeepsIsRefused) {
  const std::string yaml = SiteStudy("", "clip: 8", 100'000);
  std::string tiny = yaml;
  tiny.replace(tiny.find("epsilon: 4"), 10, "epsilon: 0.001");
  tiny.replace(tiny.find("delta: 0.01"), 11, "delta: 1e-15");
  const absl::Status refused = Created(tiny).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("no noise keeps it"));
}

TEST(SettleNoiseTest, OtherLevelsAreLeftAsTheyAre) {
  const std::string head = "name: hippo\ntask: {labels: {1: A}}\naggregation: {min_sites: 5}\n";
  for (const char* privacy : {"", "privacy: {level: sample, epsilon: 8, delta: 1e-4, clip: 1}\n"}) {
    StudySpec spec = Read(head + privacy);
    const StudySpec before = spec;
    ASSERT_TRUE(SettleNoise(spec).ok());
    EXPECT_EQ(spec.privacy, before.privacy);
  }
}

// Of 200 patients, 16 in a step, 1000 steps, delta 1/(10 N): 2.89 for epsilon 3, by an independent
// account of the privacy loss (table of shared/notes/privacy.md).
TEST(SamplePromiseTest, IsThePublishedMultiplier) {
  StudySpec spec = Read(
      "name: h\ntask: {labels: {1: A}}\naggregation: {min_sites: 5}\nrounds: {count: 20}\n"
      "privacy: {level: sample, epsilon: 3, delta: 0.0005, clip: 1, patients_per_step: 16}\n");
  const auto promise = SamplePromise(spec, 1'000'000, 50, 200);
  ASSERT_TRUE(promise.ok()) << promise.status();
  EXPECT_NEAR(promise->noise_multiplier, 2.89, 0.01);
  EXPECT_EQ(promise->releases, 1000);
  EXPECT_NEAR(promise->noise_to_signal, promise->noise_multiplier * 1000 / 16, 1e-6);
  EXPECT_FALSE(SamplePromise(spec, 1'000'000, 50, 15).ok());
}

TEST(SitePromiseTest, CostIsTheNoisesLengthOverTheSites) {
  const StudySpec spec = Read(SiteStudy(", noise_multiplier: 4"));
  const auto promise = SitePromise(spec, 62'000'000);
  ASSERT_TRUE(promise.ok()) << promise.status();
  EXPECT_NEAR(promise->noise_to_signal, 4 * std::sqrt(62e6) / 10, 1e-6);  // 3150
}

}  // namespace
}  // namespace consilium::coordinator
