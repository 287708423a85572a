// The plan of a study: everything that decides what a site prepares, trains and segments.
//
// A plan travels as canonical JSON (sorted keys, no spaces): in a task to the sites, in a version's
// safetensors metadata under kPlanMetadataKey, and hashed (SHA-256 of that text) in the audit log.
// Training and inference therefore prepare images by the same values.
#ifndef CONSILIUM_PROTO_WIRE_PLAN_H_
#define CONSILIUM_PROTO_WIRE_PLAN_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::wire {

inline constexpr const char* kPlanMetadataKey = "consilium.plan";
inline constexpr const char* kVersionMetadataKey = "consilium.version";  // "hippocampus/3"
inline constexpr size_t kPlanBytesMax = 64 * 1024;

struct PlanLabel {
  int value = 0;     // 1..classes-1; 0 is background
  std::string name;  // matched with a segment's label, letter case ignored
  std::string code;  // SegDB identifier such as HIPPOCAMPUS_ANTERIOR; may be empty
  friend bool operator==(const PlanLabel&, const PlanLabel&) = default;
};

// One condition that a series has to meet: a DICOM keyword and what its value must be.
// "!X": no value equals X. "X": some value equals X. "<= 3", ">= 3", "< 3", "> 3": number.
struct SeriesRule {
  std::string keyword;
  std::string condition;
  friend bool operator==(const SeriesRule&, const SeriesRule&) = default;
};

struct PlanNetwork {
  std::string kind = "unet";
  int64_t in_channels = 1;
  std::vector<int64_t> features = {16, 32, 64, 128};
  std::vector<std::array<int64_t, 3>> strides_xyz = {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}};
  friend bool operator==(const PlanNetwork&, const PlanNetwork&) = default;
};

struct PlanTraining {
  std::array<int64_t, 3> patch_xyz = {40, 56, 40};
  int64_t batch = 2;
  int64_t steps_per_round = 20;  // optimiser steps of each site in each round
  int64_t rounds = 20;
  double learning_rate = 3e-3;
  double weight_decay = 1e-5;
  std::string semi_supervised = "mean_teacher";  // or "none"
  double ema_decay = 0.99;
  double consistency_weight = 0.1;
  int64_t consistency_rampup_steps = 200;
  bool augment = true;
  std::array<bool, 3> mirror_xyz = {false, false, false};
  double foreground_fraction = 0.5;
  double local_validation_fraction = 0.2;  // of a site's labelled cases, never trained on
  uint64_t seed = 0;
  friend bool operator==(const PlanTraining&, const PlanTraining&) = default;
};

struct Plan {
  std::string study;
  std::vector<PlanLabel> labels;
  std::string modality = "MR";
  std::vector<SeriesRule> series_rules;
  std::array<double, 3> spacing_xyz_mm = {1, 1, 1};
  std::string normalisation = "z-score";
  PlanNetwork network;
  PlanTraining training;
  int64_t classes() const { return static_cast<int64_t>(labels.size()) + 1; }
  friend bool operator==(const Plan&, const Plan&) = default;
};

// OK, or INVALID_ARGUMENT naming the key that is out of its range and the range.
absl::Status CheckPlan(const Plan& plan);

// Canonical JSON.
std::string PlanToJson(const Plan& plan);

// Strict: an unknown or missing key, a wrong type or a value out of range is INVALID_ARGUMENT that
// names the key. Every plan returned passes CheckPlan.
absl::StatusOr<Plan> PlanFromJson(absl::string_view text);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_PLAN_H_
