#include "site_agent/plan_config.h"

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"

namespace consilium::agent {

training::SessionOptions SessionOptionsFor(const wire::Plan& plan, const ComputeOptions& compute) {
  training::SessionOptions options;
  options.network.kind = training::NetworkConfig::Kind::kUnet;
  options.network.in_channels = plan.network.in_channels;
  options.network.classes = plan.classes();
  options.network.features = plan.network.features;
  options.network.strides.clear();
  for (const auto& stride : plan.network.strides_xyz) {
    options.network.strides.push_back(DhwFromXyz(stride));
  }
  const wire::PlanTraining& from = plan.training;
  training::TrainingConfig& to = options.training;
  to.patch = DhwFromXyz(from.patch_xyz);
  to.batch = from.batch;
  to.learning_rate = from.learning_rate;
  to.weight_decay = from.weight_decay;
  to.total_steps = from.rounds * from.steps_per_round;
  to.ema_decay = from.ema_decay;
  to.consistency_weight = from.semi_supervised == "mean_teacher" ? from.consistency_weight : 0;
  to.consistency_rampup_steps = from.consistency_rampup_steps;
  to.augment = from.augment;
  to.mirror_dhw = DhwFromXyz(from.mirror_xyz);
  to.foreground_fraction = from.foreground_fraction;
  const wire::PlanAlgorithm& algorithm = plan.algorithm;
  if (algorithm.kind == "scaffold") to.optimiser = training::TrainingConfig::Optimiser::kSgd;
  if (algorithm.kind == "fedprox") to.proximal_mu = algorithm.proximal_mu;
  to.local_layers = algorithm.local_layers;
  options.threads = compute.threads;
  options.device = compute.device;
  options.init_seed = from.seed;
  return options;
}

training::RunOptions RoundOptionsFor(const wire::Plan& plan, int64_t round,
                                     absl::string_view site) {
  training::RunOptions options;
  options.steps = plan.training.steps_per_round;
  options.start_step = (round - 1) * plan.training.steps_per_round;
  const std::string digest = privacy::Sha256(
      absl::StrCat("consilium training seed v2\n", plan.training.seed, "\n", round, "\n", site));
  options.seed = LoadLe64(digest.data());
  return options;
}

}  // namespace consilium::agent
