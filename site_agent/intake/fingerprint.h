// What a site tells the coordinator about its cohort, for `plan: auto`. Sums and medians only.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_FINGERPRINT_H_
#define CONSILIUM_SITE_AGENT_INTAKE_FINGERPRINT_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/intake/cohort.h"

namespace consilium::agent {

// Axes are the nearest patient axes (x: left-right, y: front-back, z: feet-head), as in the plan.
struct Fingerprint {
  int64_t cases = 0;
  int64_t labelled = 0;
  int64_t patients = 0;
  std::array<double, 3> spacing_median_xyz_mm = {0, 0, 0};
  std::array<double, 3> spacing_min_xyz_mm = {0, 0, 0};
  std::array<double, 3> spacing_max_xyz_mm = {0, 0, 0};
  std::array<double, 3> size_median_xyz = {0, 0, 0};
  std::array<double, 3> extent_median_xyz_mm = {0, 0, 0};
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// All zero for an empty cohort.
Fingerprint FingerprintOf(const Cohort& cohort);

std::string FingerprintToJson(const Fingerprint& fingerprint);  // canonical: sorted keys, no spaces
// INVALID_ARGUMENT: unknown or missing key, wrong type, negative or not finite.
absl::StatusOr<Fingerprint> FingerprintFromJson(absl::string_view text);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_FINGERPRINT_H_
