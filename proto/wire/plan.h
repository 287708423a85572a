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

// A further image of a case, brought onto the grid of the plan's own series (docs/imaging.md).
struct PlanChannel {
  std::string modality = "MR";
  std::vector<SeriesRule> series_rules;
  std::string normalisation = "z-score";
  friend bool operator==(const PlanChannel&, const PlanChannel&) = default;
};
inline constexpr size_t kChannelsMax = 8;  // of a network, the first included

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

// How an update leaves the site. `norm_max` is the site's own doing under secure aggregation, and is
// checked at the coordinator's door where updates are sealed.
struct PlanProtection {
  std::string kind = "sealed";  // "sealed" | "secure-aggregation"
  double norm_max = 0;          // L2 norm that an update is scaled down to; 0: no bound
  // Secure aggregation only.
  int64_t bits = 32;            // of a masked word: 32 | 16
  double clip = 1;              // a weight's change beyond +-clip is cut off, counted and reported
  int64_t min_cohort = 3;       // a sum of fewer sites is never revealed
  int64_t group = 0;            // sites whose sums are revealed apart from the others'; 0: all together
  friend bool operator==(const PlanProtection&, const PlanProtection&) = default;
};

// What differential privacy the study promises, and by which mechanism (privacy/dp).
struct PlanPrivacy {
  std::string level = "none";  // "none" | "sample" (a patient) | "site"
  double epsilon = 0;          // of the whole study
  double delta = 0;
  double clip = 0;             // L2 norm of what one patient, or one site, adds to a sum
  double patients_per_step = 8;  // sample: expected, the public divisor of the sum
  double noise_multiplier = 0;   // site: noise over clip, of the sum; sites calibrate their own for sample
  friend bool operator==(const PlanPrivacy&, const PlanPrivacy&) = default;
};

// What a site does besides plain training from the given weights.
struct PlanAlgorithm {
  std::string kind = "fedavg";  // "fedavg" | "fedprox" | "scaffold"
  double proximal_mu = 0;       // fedprox: of mu/2 |w - w_global|^2
  std::vector<std::string> local_layers;  // name patterns of tensors that stay at the site (FedBN)
  double personal_lambda = 0;   // > 0: a personal model is trained beside (Ditto)
  friend bool operator==(const PlanAlgorithm&, const PlanAlgorithm&) = default;
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
  // Written only where they are not the default, so that plans of before keep their digest.
  std::string purpose;  // what the study is for, as sites' policies name it: "research"
  PlanProtection protection;
  PlanPrivacy privacy;
  PlanAlgorithm algorithm;
  // Input channels after the first, which is modality, series_rules and normalisation above; in the
  // network's order. network.in_channels counts them all.
  std::vector<PlanChannel> channels;
  // Part of the first one's volume that each of them has to cover, 0 to 1; else the case is set aside.
  double coverage_min = 0.5;
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
