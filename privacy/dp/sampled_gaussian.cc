#include "privacy/dp/sampled_gaussian.h"

#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::dp {

absl::Status CheckPart(const SampledGaussian& part) {
  // Written so that NaN fails.
  if (!(part.sampling_rate >= 0 && part.sampling_rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling rate ", part.sampling_rate, ": not in [0, 1]"));
  }
  if (!(part.noise_multiplier >= kNoiseMultiplierMin &&
        part.noise_multiplier <= kNoiseMultiplierMax)) {
    return absl::InvalidArgumentError(absl::StrCat("noise multiplier ", part.noise_multiplier,
                                                   ": not in [", kNoiseMultiplierMin, ", ",
                                                   kNoiseMultiplierMax, "]"));
  }
  if (part.steps < 0 || part.steps > kStepsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(part.steps, " steps: not in [0, ", kStepsMax, "]"));
  }
  return absl::OkStatus();
}

absl::Status CheckDelta(double delta) {
  if (!(delta >= kDeltaMin && delta < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("delta ", delta, ": not in [", kDeltaMin, ", 1)"));
  }
  return absl::OkStatus();
}

absl::Status CheckEpsilon(double epsilon) {
  if (!(epsilon > 0 && std::isfinite(epsilon))) {
    return absl::InvalidArgumentError(absl::StrCat("epsilon ", epsilon, ": not positive"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SampledGaussian>> MergeParts(absl::Span<const SampledGaussian> parts) {
  if (parts.size() > kPartsMax) {
    return absl::InvalidArgumentError(absl::StrCat(parts.size(), " parts: more than ", kPartsMax));
  }
  std::map<std::pair<double, double>, int64_t> steps;
  int64_t total = 0;
  for (const SampledGaussian& part : parts) {
    CSL_RETURN_IF_ERROR(CheckPart(part));
    total += part.steps;  // at most kPartsMax * kStepsMax
    if (part.steps == 0 || part.sampling_rate == 0) continue;
    steps[{part.sampling_rate, part.noise_multiplier}] += part.steps;
  }
  if (total > kStepsMax) {
    return absl::InvalidArgumentError(absl::StrCat(total, " steps: more than ", kStepsMax));
  }
  std::vector<SampledGaussian> merged;
  for (const auto& [kind, count] : steps) {
    merged.push_back(
        {.sampling_rate = kind.first, .noise_multiplier = kind.second, .steps = count});
  }
  return merged;
}

}  // namespace consilium::dp
