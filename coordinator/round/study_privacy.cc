#include "coordinator/round/study_privacy.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_checks.h"
#include "coordinator/round/study_promise.h"
#include "coordinator/round/study_terms.h"
#include "privacy/dp/distributed.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kRosterMax = 255;
// Of the normal noise in a word, so that none of 10^8 wraps around.
constexpr double kWordDeviations = 8;

// Strides are the only thing about the number of weights that data may still change.
int64_t DimensionsMax(const StudySpec& spec) {
  wire::Plan plan = ProvisionalPlan(spec);
  for (size_t level = 1; level < plan.network.strides_xyz.size(); ++level) {
    plan.network.strides_xyz[level] = {2, 2, 2};
  }
  return ParameterCount(plan);
}

int64_t Threshold(const StudySpec& spec) {
  return std::max(MaskedThreshold(spec.min_sites), spec.protection.min_cohort);
}

dp::DistributedSetting SettingOf(const StudySpec& spec) {
  const int64_t sites = std::max(spec.min_sites, kRosterMax);
  dp::DistributedSetting setting;
  setting.clip = spec.privacy.clip;
  // n quantiser steps of 2C / (2^32 - 4n).
  setting.grid = static_cast<double>(sites) * 2 * spec.protection.clip /
                 (4294967296.0 - 4 * static_cast<double>(sites));
  setting.dimensions = DimensionsMax(spec);
  setting.sites = sites;
  setting.threshold = Threshold(spec);
  setting.noise_multiplier = spec.privacy.noise_multiplier;
  setting.rounds = spec.rounds;
  return setting;
}

absl::Status Refuse(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("study: ", key, ": ", what));
}

// A value and its noise have to stay within +-C of the mean, or they come out at the other end.
absl::Status CheckWords(const StudySpec& spec) {
  const double shares = static_cast<double>(spec.min_sites) * static_cast<double>(Threshold(spec));
  const double clip = spec.privacy.clip;
  const double needed =
      clip + kWordDeviations * spec.privacy.noise_multiplier * clip / std::sqrt(shares);
  if (spec.protection.clip >= needed) return absl::OkStatus();
  const double rounded_up = std::ceil(needed * 100) / 100;
  return Refuse("protection.clip",
                absl::StrCat("is ", NumberText(spec.protection.clip),
                             ", but a weight's change and its noise need ", NumberText(rounded_up),
                             "; write protection: {clip: ", NumberText(rounded_up),
                             "}, or lower privacy.clip"));
}

dp::StudyPrivacy Terms(const StudySpec& spec, int64_t parameters) {
  dp::StudyPrivacy study;
  study.epsilon = spec.privacy.epsilon;
  study.delta = spec.privacy.delta;
  study.clip = spec.privacy.clip;
  study.rounds = spec.rounds;
  study.parameters = parameters;
  study.sites = spec.min_sites;
  return study;
}

}  // namespace

absl::Status SettleNoise(StudySpec& spec) {
  if (spec.privacy.level != "site") return absl::OkStatus();
  const dp::PrivacyBudget budget = {spec.privacy.epsilon, spec.privacy.delta};
  const absl::StatusOr<double> least = dp::CalibrateDistributed(SettingOf(spec), budget);
  if (!least.ok()) {
    return Refuse("privacy.epsilon", absl::StrCat("no noise keeps it: ", least.status().message()));
  }
  double& noise = spec.privacy.noise_multiplier;
  if (noise == 0) noise = *least;
  CSL_ASSIGN_OR_RETURN(const double epsilon, dp::DistributedEpsilon(SettingOf(spec), budget.delta));
  if (epsilon > budget.epsilon) {
    return Refuse(
        "privacy.noise_multiplier",
        absl::StrCat("is ", NumberText(noise), ", which gives epsilon ",
                     absl::StrFormat("%.3g", epsilon), " over ", spec.rounds, " rounds; write ",
                     absl::StrFormat("%.4g", *least * 1.0005), " or more, or leave it out"));
  }
  return CheckWords(spec);
}

absl::StatusOr<dp::PrivacyPromise> SitePromise(const StudySpec& spec, int64_t parameters) {
  dp::StudyPrivacy study = Terms(spec, parameters);
  study.level = dp::PrivacyLevel::kSite;
  study.noise_multiplier = spec.privacy.noise_multiplier;
  study.threshold = Threshold(spec);
  return dp::MakePromise(study);
}

absl::StatusOr<dp::PrivacyPromise> SamplePromise(const StudySpec& spec, int64_t parameters,
                                                 int64_t steps, int64_t patients) {
  dp::StudyPrivacy study = Terms(spec, parameters);
  study.level = dp::PrivacyLevel::kSample;
  study.patients = patients;
  study.batch = static_cast<int64_t>(std::ceil(spec.privacy.patients_per_step));
  study.steps = steps;
  return dp::MakePromise(study);
}

}  // namespace consilium::coordinator
