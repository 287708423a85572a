#include "privacy/dp/promise.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/dp/pld_accountant.h"

namespace consilium::dp {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

StudyPrivacy PatientStudy() {
  return {.level = PrivacyLevel::kSample,
          .epsilon = 8,
          .clip = 1,
          .rounds = 50,
          .parameters = 100'000,
          .sites = 4,
          .patients = 200,
          .batch = 16,
          .steps = 20};
}

StudyPrivacy SiteStudy() {
  return {.level = PrivacyLevel::kSite,
          .epsilon = 8,
          .delta = 1e-2,
          .clip = 1,
          .rounds = 50,
          .parameters = 2'000'000,
          .sites = 10,
          .threshold = 7};
}

TEST(PromiseTest, WithoutNoiseThereIsNoGuarantee) {
  const auto promise = MakePromise({.clip = 2, .rounds = 10});
  ASSERT_TRUE(promise.ok()) << promise.status();
  EXPECT_FALSE(promise->guaranteed);
  EXPECT_THAT(PromiseText(*promise), HasSubstr("no guarantee"));
  EXPECT_THAT(PromiseText(*promise), Not(HasSubstr("epsilon")));
  EXPECT_THAT(promise->warnings, IsEmpty());
  EXPECT_THAT(PromiseText(*MakePromise({})), HasSubstr("not clipped"));
  // Nobody may believe that an epsilon without a mechanism does something.
  EXPECT_FALSE(MakePromise({.epsilon = 3}).ok());
  EXPECT_FALSE(MakePromise({.noise_multiplier = 1}).ok());
}

TEST(PromiseTest, PatientsAreKeptToEpsilonByTheLeastNoise) {
  const auto promise = MakePromise(PatientStudy());
  ASSERT_TRUE(promise.ok()) << promise.status();
  EXPECT_TRUE(promise->guaranteed);
  EXPECT_EQ(promise->unit, "patient");
  EXPECT_DOUBLE_EQ(promise->delta, 5e-4);
  EXPECT_DOUBLE_EQ(promise->sampling_rate, 0.08);
  EXPECT_EQ(promise->releases, 1000);
  EXPECT_NEAR(promise->noise_multiplier, 1.45, 0.01);  // notes: N 200, L 16, T 1000, eps 8
  EXPECT_LE(promise->epsilon, 8);
  EXPECT_GT(promise->epsilon, 7.98);
  EXPECT_NEAR(promise->noise_to_signal, promise->noise_multiplier * std::sqrt(1e5) / 16, 1e-9);
  EXPECT_NEAR(promise->noise_to_signal_study, promise->noise_to_signal / std::sqrt(4000.0), 1e-9);
  EXPECT_THAT(promise->warnings, IsEmpty());
  const std::string text = PromiseText(*promise);
  EXPECT_THAT(text, HasSubstr("for each patient"));
  EXPECT_THAT(text, HasSubstr("DP-SGD"));
  EXPECT_THAT(text, HasSubstr("1000 steps at a site, sampling rate 0.08"));
}

TEST(PromiseTest, GivenNoiseIsAccountedAndComparedWithWhatWasWanted) {
  StudyPrivacy study = PatientStudy();
  study.noise_multiplier = 1;
  study.epsilon = 3;
  const auto promise = MakePromise(study);
  ASSERT_TRUE(promise.ok()) << promise.status();
  EXPECT_NEAR(promise->epsilon,
              *EpsilonByPld({{.sampling_rate = 0.08, .noise_multiplier = 1, .steps = 1000}}, 5e-4),
              1e-12);
  EXPECT_THAT(promise->warnings, Contains(HasSubstr("more than the 3 wanted")));
  EXPECT_THAT(promise->warnings, Contains(HasSubstr("weak bound")));
}

TEST(PromiseTest, WarnsOfALargeDeltaAndOfNoiseAboveTheSignal) {
  StudyPrivacy study = PatientStudy();
  study.delta = 1.0 / 200;
  study.parameters = 62'000'000;
  const auto promise = MakePromise(study);
  ASSERT_TRUE(promise.ok()) << promise.status();
  EXPECT_THAT(promise->warnings, Contains(HasSubstr("not below 1/200")));
  EXPECT_THAT(promise->warnings, Contains(HasSubstr("train fewer parameters")));
}

TEST(PromiseTest, SitesAreKeptToEpsilonAndTheirCostIsShown) {
  for (const auto mechanism :
       {DistributedMechanism::kDiscreteGaussian, DistributedMechanism::kSkellam}) {
    StudyPrivacy study = SiteStudy();
    study.mechanism = mechanism;
    const auto promise = MakePromise(study);
    ASSERT_TRUE(promise.ok()) << promise.status();
    EXPECT_EQ(promise->unit, "site");
    EXPECT_LE(promise->epsilon, 8);
    EXPECT_GT(promise->epsilon, 7.99);
    EXPECT_NEAR(promise->noise_to_signal, promise->noise_multiplier * std::sqrt(2e6) / 10, 1e-6);
    EXPECT_NEAR(promise->local_sigma, promise->noise_multiplier / std::sqrt(7.0), 1e-9);
    EXPECT_GT(promise->grid, 0);
    EXPECT_THAT(promise->warnings, Contains(HasSubstr("times the largest signal")));
    EXPECT_THAT(PromiseText(*promise), HasSubstr("for each site"));
    EXPECT_THAT(PromiseText(*promise), HasSubstr("complete with 7 of 10 sites"));
  }
  StudyPrivacy study = SiteStudy();
  study.delta = 0.1;
  EXPECT_THAT(MakePromise(study)->warnings, Contains(HasSubstr("not below 1/10")));
}

TEST(PromiseTest, SettingsThatCannotBeAreRefused) {
  const auto refused = [](StudyPrivacy study) {
    return MakePromise(study).status().code() == absl::StatusCode::kInvalidArgument;
  };
  for (const StudyPrivacy& good : {PatientStudy(), SiteStudy()}) {
    for (int64_t StudyPrivacy::*field :
         {&StudyPrivacy::rounds, &StudyPrivacy::parameters, &StudyPrivacy::sites}) {
      for (const int64_t bad : {int64_t{0}, int64_t{-1}}) {
        StudyPrivacy study = good;
        study.*field = bad;
        EXPECT_TRUE(refused(study));
      }
    }
    for (double StudyPrivacy::*field : {&StudyPrivacy::epsilon, &StudyPrivacy::clip}) {
      for (const double bad : {0.0, -1.0, double{NAN}, HUGE_VAL}) {
        StudyPrivacy study = good;
        study.*field = bad;
        EXPECT_TRUE(refused(study)) << bad;
      }
    }
    StudyPrivacy study = good;
    study.delta = 1;
    EXPECT_TRUE(refused(study));
    study = good;
    study.noise_multiplier = -1;
    EXPECT_TRUE(refused(study));
    study = good;
    study.parameters = INT64_MAX;
    EXPECT_TRUE(refused(study));
    study = good;
    study.rounds = INT64_MAX;
    EXPECT_TRUE(refused(study));
  }
  StudyPrivacy study = PatientStudy();
  study.batch = 201;
  EXPECT_TRUE(refused(study));
  study = PatientStudy();
  study.steps = INT64_MAX;
  EXPECT_TRUE(refused(study));
  study = SiteStudy();
  study.threshold = 11;
  EXPECT_TRUE(refused(study));
}

}  // namespace
}  // namespace consilium::dp
