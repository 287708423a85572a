// The noise that a promise needs. Pure functions; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_CALIBRATE_H_
#define CONSILIUM_PRIVACY_DP_CALIBRATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/dp/budget.h"
#include "privacy/dp/sampled_gaussian.h"

namespace consilium::dp {

// The smallest noise multiplier with which `steps` steps at `sampling_rate`, after all of `spent`,
// stay within the budget: above it by at most 10^-4 of itself, and never below.
// INVALID_ARGUMENT: CheckPart's, CheckDelta's or CheckEpsilon's of a value. OUT_OF_RANGE: no noise
// up to kNoiseMultiplierMax is enough: `spent` exceeds the budget, or RDP cannot prove so small an
// epsilon.
absl::StatusOr<double> CalibrateNoise(const PrivacyBudget& budget, double sampling_rate,
                                      int64_t steps, Accountant accountant = Accountant::kPld,
                                      absl::Span<const SampledGaussian> spent = {});

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_CALIBRATE_H_
