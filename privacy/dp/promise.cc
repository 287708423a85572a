#include "privacy/dp/promise.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "privacy/dp/budget.h"
#include "privacy/dp/calibrate.h"
#include "privacy/dp/local_noise.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kEpsilonWeak = 8;  // "standard"; beyond, the bound says little
constexpr int64_t kParametersMany = 2'000'000;
constexpr int kLaneBits = 32;

absl::Status CheckCounts(const StudyPrivacy& study) {
  const auto positive = [](const char* what, int64_t value) {
    if (value > 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", value, " is not positive"));
  };
  CSL_RETURN_IF_ERROR(positive("rounds", study.rounds));
  CSL_RETURN_IF_ERROR(positive("parameters", study.parameters));
  CSL_RETURN_IF_ERROR(positive("sites", study.sites));
  if (study.rounds > kStepsMax || study.parameters > kDimensionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(study.rounds, " rounds of ", study.parameters, " parameters: too many"));
  }
  if (!(study.clip > 0 && std::isfinite(study.clip))) {
    return absl::InvalidArgumentError(absl::StrCat("clip ", study.clip, ": not positive"));
  }
  if (study.noise_multiplier == 0) return CheckEpsilon(study.epsilon);
  if (!(study.epsilon >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("epsilon ", study.epsilon, ": negative"));
  }
  return absl::OkStatus();
}

PrivacyPromise NoGuarantee(const StudyPrivacy& study) {
  PrivacyPromise promise;
  promise.clip = study.clip;
  promise.releases = study.rounds;
  if (!(study.clip > 0)) promise.warnings.push_back("contributions are not clipped either");
  return promise;
}

// What both levels warn of; `units` is how many there are to protect.
void AddWarnings(const StudyPrivacy& study, int64_t units, double ratio, PrivacyPromise& promise) {
  const auto warn = [&](std::string text) { promise.warnings.push_back(std::move(text)); };
  if (promise.delta * static_cast<double>(units) >= 1) {
    warn(
        absl::StrFormat("delta %.3g is not below 1/%d: to publish one %s entirely would keep the "
                        "promise",
                        promise.delta, units, promise.unit));
  }
  if (promise.epsilon > kEpsilonWeak) {
    warn(absl::StrFormat("epsilon %.3g is above %g: a weak bound", promise.epsilon, kEpsilonWeak));
  }
  if (study.epsilon > 0 && promise.epsilon > study.epsilon) {
    warn(absl::StrFormat("this noise spends epsilon %.3g, more than the %.3g wanted",
                         promise.epsilon, study.epsilon));
  }
  if (ratio > 1) {
    warn(
        absl::StrFormat("the noise is %.3g times the largest signal: expect a worse model%s", ratio,
                        study.parameters > kParametersMany
                            ? "; train fewer parameters (an adapter or the head, 2 million at most)"
                            : "; take more patients a step, fewer steps or fewer parameters"));
  }
}

absl::StatusOr<PrivacyPromise> SamplePromise(const StudyPrivacy& study) {
  if (study.batch < 1 || study.patients < study.batch) {
    return absl::InvalidArgumentError(
        absl::StrCat("a batch of ", study.batch, " of ", study.patients, " patients"));
  }
  if (study.steps < 1 || study.steps > kStepsMax / study.rounds) {
    return absl::InvalidArgumentError(
        absl::StrCat(study.steps, " steps in each of ", study.rounds, " rounds"));
  }
  PrivacyPromise promise;
  promise.guaranteed = true;
  promise.mechanism =
      "DP-SGD (Poisson sampling, discrete Gaussian noise on a grid, accounted by PLD)";
  promise.unit = "patient";
  promise.clip = study.clip;
  promise.delta = study.delta == 0 ? DefaultDelta(study.patients) : study.delta;
  promise.sampling_rate = static_cast<double>(study.batch) / static_cast<double>(study.patients);
  promise.releases = study.steps * study.rounds;
  promise.noise_multiplier = study.noise_multiplier;
  if (promise.noise_multiplier == 0) {
    CSL_ASSIGN_OR_RETURN(promise.noise_multiplier,
                         CalibrateNoise({.epsilon = study.epsilon, .delta = promise.delta},
                                        promise.sampling_rate, promise.releases));
  }
  CSL_ASSIGN_OR_RETURN(promise.epsilon, SpentEpsilon({{.sampling_rate = promise.sampling_rate,
                                                       .noise_multiplier = promise.noise_multiplier,
                                                       .steps = promise.releases}},
                                                     promise.delta));
  promise.noise_to_signal = NoiseToSignal(promise.noise_multiplier, study.parameters, study.batch);
  promise.noise_to_signal_study =
      promise.noise_to_signal /
      std::sqrt(static_cast<double>(promise.releases) * static_cast<double>(study.sites));
  // A single step's noise is always large: what is learned is the sum of many.
  AddWarnings(study, study.patients, promise.noise_to_signal_study, promise);
  return promise;
}

absl::StatusOr<PrivacyPromise> SitePromise(const StudyPrivacy& study) {
  PrivacyPromise promise;
  promise.guaranteed = true;
  const bool skellam = study.mechanism == DistributedMechanism::kSkellam;
  promise.mechanism = absl::StrCat("distributed ", skellam ? "Skellam" : "discrete Gaussian",
                                   " noise in the masked lanes (accounted by RDP), complete with ",
                                   study.threshold, " of ", study.sites, " sites");
  promise.unit = "site";
  promise.clip = study.clip;
  promise.delta = study.delta == 0 ? DefaultDelta(study.sites) : study.delta;
  promise.releases = study.rounds;
  DistributedSetting setting{.mechanism = study.mechanism,
                             .clip = study.clip,
                             // Rounding at this grid is lost beside the noise.
                             .grid = NoiseGrid(study.clip, 1, study.parameters),
                             .dimensions = study.parameters,
                             .sites = study.sites,
                             .threshold = study.threshold,
                             .noise_multiplier = study.noise_multiplier,
                             .rounds = study.rounds};
  if (setting.noise_multiplier == 0) {
    CSL_ASSIGN_OR_RETURN(
        setting.noise_multiplier,
        CalibrateDistributed(setting, {.epsilon = study.epsilon, .delta = promise.delta}));
  }
  CSL_ASSIGN_OR_RETURN(promise.epsilon, DistributedEpsilon(setting, promise.delta));
  CSL_ASSIGN_OR_RETURN(const int bits, LaneBits(setting));
  if (bits > kLaneBits) {
    return absl::InvalidArgumentError(absl::StrCat("the noise needs lanes of ", bits, " bits, not ",
                                                   kLaneBits, ": fewer parameters or less noise"));
  }
  promise.noise_multiplier = setting.noise_multiplier;
  promise.grid = setting.grid;
  promise.local_sigma = LocalSigma(setting);
  promise.noise_to_signal = NoiseToSignal(setting.noise_multiplier, study.parameters, study.sites);
  promise.noise_to_signal_study =
      promise.noise_to_signal / std::sqrt(static_cast<double>(study.rounds));
  AddWarnings(study, study.sites, promise.noise_to_signal, promise);
  return promise;
}

}  // namespace

absl::StatusOr<PrivacyPromise> MakePromise(const StudyPrivacy& study) {
  if (study.level == PrivacyLevel::kNone) {
    if (study.epsilon != 0 || study.noise_multiplier != 0) {
      return absl::InvalidArgumentError(
          "epsilon or noise is set, but the level of privacy is none");
    }
    return NoGuarantee(study);
  }
  CSL_RETURN_IF_ERROR(CheckCounts(study));
  if (study.delta != 0) CSL_RETURN_IF_ERROR(CheckDelta(study.delta));
  return study.level == PrivacyLevel::kSample ? SamplePromise(study) : SitePromise(study);
}

std::string PromiseText(const PrivacyPromise& promise) {
  std::string text;
  if (!promise.guaranteed) {
    text = "Differential privacy: no guarantee\n";
    if (promise.clip > 0) {
      absl::StrAppendFormat(&text, "  clip             %.4g, without noise\n", promise.clip);
    }
  } else {
    absl::StrAppendFormat(&text, "Differential privacy: epsilon %.4g, delta %.3g for each %s\n",
                          promise.epsilon, promise.delta, promise.unit);
    absl::StrAppendFormat(&text, "  mechanism        %s\n", promise.mechanism);
    absl::StrAppendFormat(&text, "  noise multiplier %.4g of clip %.4g\n", promise.noise_multiplier,
                          promise.clip);
    const bool sampled = promise.unit == "patient";
    absl::StrAppendFormat(&text, "  spent over       %d %s", promise.releases,
                          sampled ? "steps at a site" : "rounds");
    if (sampled) absl::StrAppendFormat(&text, ", sampling rate %.3g", promise.sampling_rate);
    absl::StrAppendFormat(&text, "\n  noise to signal  %.3g a %s, %.3g over the study\n",
                          promise.noise_to_signal, sampled ? "step" : "round",
                          promise.noise_to_signal_study);
  }
  for (const std::string& warning : promise.warnings) {
    absl::StrAppend(&text, "  warning: ", warning, "\n");
  }
  return text;
}

}  // namespace consilium::dp
