#include "coordinator/round/planner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr double kSpacingStep = 1e-4;  // mm; keeps the plan's text short and the same everywhere
constexpr int64_t kFirstFeatures = 16;
constexpr int64_t kLevelsDefault = 4;

// The smallest value at which half the weight is reached.
double WeightedMedian(std::vector<std::pair<double, int64_t>> values) {
  std::sort(values.begin(), values.end());
  int64_t total = 0, below = 0;
  for (const auto& [value, weight] : values) total += weight;
  for (const auto& [value, weight] : values) {
    below += weight;
    if (2 * below >= total) return value;
  }
  return values.back().first;
}

std::array<double, 3> MedianSpacing(const std::vector<CohortRecord>& sites) {
  std::array<double, 3> spacing;
  for (size_t axis = 0; axis < 3; ++axis) {
    std::vector<std::pair<double, int64_t>> values;
    for (const CohortRecord& site : sites) {
      values.emplace_back(site.median_spacing_xyz_mm[axis], site.cases);
    }
    spacing[axis] = std::round(WeightedMedian(values) / kSpacingStep) * kSpacingStep;
  }
  return spacing;
}

// In voxels of `spacing`.
std::array<int64_t, 3> MedianSize(const std::vector<CohortRecord>& sites,
                                  const std::array<double, 3>& spacing) {
  std::array<int64_t, 3> size;
  for (size_t axis = 0; axis < 3; ++axis) {
    std::vector<std::pair<double, int64_t>> values;
    for (const CohortRecord& site : sites) {
      const double extent_mm = site.median_size_xyz[axis] * site.median_spacing_xyz_mm[axis];
      values.emplace_back(extent_mm / spacing[axis], site.cases);
    }
    const double voxels = std::clamp(WeightedMedian(values), 1.0, 4096.0);
    size[axis] = static_cast<int64_t>(std::llround(voxels));
  }
  return size;
}

using Strides = std::vector<std::array<int64_t, 3>>;

Strides StridesFor(const std::array<int64_t, 3>& size, int64_t levels) {
  Strides strides(static_cast<size_t>(levels), {1, 1, 1});
  for (size_t axis = 0; axis < 3; ++axis) {
    int64_t halvings = 0;
    while (halvings + 1 < levels && (size[axis] >> (halvings + 1)) >= kBottleneckMin) ++halvings;
    for (int64_t i = 0; i < halvings; ++i) strides[static_cast<size_t>(levels - 1 - i)][axis] = 2;
  }
  return strides;
}

int64_t TotalStride(const Strides& strides, size_t axis) {
  int64_t total = 1;
  for (const auto& stride : strides) total *= stride[axis];
  return total;
}

std::array<int64_t, 3> PatchFor(const std::array<int64_t, 3>& size, const Strides& strides) {
  std::array<int64_t, 3> patch;
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t stride = std::max<int64_t>(1, TotalStride(strides, axis));
    const int64_t wanted = std::max({size[axis], kPatchMin, 2 * stride});
    const int64_t rounded_up = (wanted + stride - 1) / stride * stride;
    patch[axis] = std::min(rounded_up, std::max(kPatchMax / stride * stride, 2 * stride));
  }
  return patch;
}

// Halvings that the patch itself allows: it must stay a multiple, and twice, of the total stride.
std::array<int64_t, 3> SizeForStrides(const std::array<int64_t, 3>& patch) {
  std::array<int64_t, 3> size;
  for (size_t axis = 0; axis < 3; ++axis) {
    int64_t power = 1;
    while (patch[axis] > 0 && patch[axis] % (2 * power) == 0) power *= 2;
    size[axis] = std::min(patch[axis], power * kBottleneckMin);
  }
  return size;
}

std::vector<int64_t> DefaultFeatures() {
  std::vector<int64_t> features;
  for (int64_t level = 0; level < kLevelsDefault; ++level) {
    features.push_back(kFirstFeatures << level);
  }
  return features;
}

void FillGeometry(const PlanSpec& fixed, const std::array<int64_t, 3>& median_size,
                  wire::Plan& plan) {
  const size_t levels = fixed.strides_xyz ? fixed.strides_xyz->size() : kLevelsDefault;
  if (fixed.features) {
    plan.network.features = *fixed.features;
  } else {
    plan.network.features = DefaultFeatures();
    plan.network.features.resize(levels, plan.network.features.back());
  }
  const std::array<int64_t, 3> size = fixed.patch_xyz ? SizeForStrides(*fixed.patch_xyz)
                                                      : median_size;
  plan.network.strides_xyz =
      fixed.strides_xyz ? *fixed.strides_xyz
                        : StridesFor(size, static_cast<int64_t>(plan.network.features.size()));
  plan.training.patch_xyz =
      fixed.patch_xyz ? *fixed.patch_xyz : PatchFor(median_size, plan.network.strides_xyz);
}

// Of the whole schedule, so that the consistency term reaches its full weight in a short study too,
// while the learning rate can still follow it.
constexpr int64_t kRampupPercent = 40;

wire::Plan FixedPart(const StudySpec& spec) {
  wire::Plan plan;
  plan.study = spec.name;
  plan.labels = spec.labels;
  plan.modality = spec.modality;
  plan.series_rules = spec.rules;
  plan.network.kind = spec.network;
  plan.network.in_channels = 1 + static_cast<int64_t>(spec.channels.size());
  plan.channels = spec.channels;
  plan.coverage_min = spec.coverage_min;
  plan.normalisation = spec.plan.normalisation;
  plan.training = spec.plan.training;
  plan.training.rounds = spec.rounds;
  plan.training.semi_supervised = spec.semi_supervised;
  plan.training.seed = spec.seed;
  plan.purpose = spec.purpose;
  plan.protection = spec.protection;
  plan.privacy = spec.privacy;
  plan.algorithm = spec.algorithm;
  plan.training.steps_per_round = spec.plan.steps_per_round.value_or(kStepsMin);
  if (spec.plan.spacing_xyz_mm) plan.spacing_xyz_mm = *spec.plan.spacing_xyz_mm;
  return plan;
}

int64_t StepsPerRound(const StudySpec& spec, const std::vector<CohortRecord>& trainers) {
  const bool uses_unlabelled = spec.semi_supervised != "none";
  int64_t cases = 0, sites = 0;
  for (const CohortRecord& site : trainers) {
    const int64_t own = site.trainable_labelled() + (uses_unlabelled ? site.unlabelled() : 0);
    cases += own;
    if (own > 0) ++sites;
  }
  const double mean = static_cast<double>(cases) / static_cast<double>(std::max<int64_t>(1, sites));
  const double steps = std::ceil(static_cast<double>(spec.local_epochs) * mean /
                                 static_cast<double>(spec.plan.training.batch));
  return std::max(kStepsMin, static_cast<int64_t>(std::min(steps, 1e5)));
}

}  // namespace

wire::Plan ProvisionalPlan(const StudySpec& spec) {
  wire::Plan plan = FixedPart(spec);
  FillGeometry(spec.plan, wire::PlanTraining().patch_xyz, plan);
  return plan;
}

absl::StatusOr<wire::Plan> MakePlan(const StudySpec& spec,
                                    const std::vector<CohortRecord>& trainers) {
  std::vector<CohortRecord> with_cases;
  for (const CohortRecord& site : trainers) {
    if (site.cases > 0) with_cases.push_back(site);
  }
  if (with_cases.empty()) {
    return absl::FailedPreconditionError(
        "no site has a case that meets the study's rules; see what the sites rejected, and why");
  }
  wire::Plan plan = FixedPart(spec);
  if (!spec.plan.spacing_xyz_mm) plan.spacing_xyz_mm = MedianSpacing(with_cases);
  FillGeometry(spec.plan, MedianSize(with_cases, plan.spacing_xyz_mm), plan);
  if (!spec.plan.steps_per_round) plan.training.steps_per_round = StepsPerRound(spec, with_cases);
  plan.training.consistency_rampup_steps = spec.plan.consistency_rampup_steps.value_or(
      plan.training.rounds * plan.training.steps_per_round * kRampupPercent / 100);
  CSL_RETURN_IF_ERROR(wire::CheckPlan(plan));
  return plan;
}

}  // namespace consilium::coordinator
