#include "training/loop/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "training/data/augment.h"
#include "training/data/patch_sampler.h"
#include "training/loop/adamw.h"
#include "training/loop/mean_teacher.h"
#include "training/loop/schedule.h"
#include "training/loss/consistency.h"
#include "training/loss/dice_ce.h"

namespace consilium::training {
namespace {

constexpr double kGradientNormMax = 12.0;  // nnU-Net's
// What tells student from teacher where augmentation is off.
constexpr double kPerturbationSigma = 0.1;

[[noreturn]] void Refuse(const std::string& reason) {
  throw std::invalid_argument("training: " + reason);
}

// Independent seeds from one: splitmix64 (Steele et al. 2014).
uint64_t DeriveSeed(uint64_t seed, uint64_t purpose) {
  uint64_t z = seed + purpose * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

AugmentOptions ChooseAugmentation(const TrainingConfig& config) {
  AugmentOptions options;
  options.mirror_dhw = config.mirror_dhw;
  if (!config.augment) {
    options.affine_probability = 0;
    options.mirror_dhw = {false, false, false};
  }
  return options;
}

PatchSamplerOptions ChooseSampling(const NetworkConfig& network, const TrainingConfig& config,
                                   const AugmentOptions& augment, const RunOptions& run) {
  PatchSamplerOptions options;
  options.channels = network.in_channels;
  options.classes = network.classes;
  options.patch = config.patch;
  options.crop = config.augment ? CropForAugment(config.patch, augment) : config.patch;
  options.foreground_fraction = config.foreground_fraction;
  options.cases = run.cases;
  return options;
}

struct Batch {
  at::Tensor images;  // [labelled + unlabelled, C, D, H, W], labelled first
  at::Tensor labels;  // [labelled, D, H, W] int64; undefined where labelled == 0
};

struct BatchShape {
  int64_t labelled = 0;
  int64_t unlabelled = 0;
};

// Both streams share the batch, so that a step costs the same with and without unlabelled cases.
BatchShape ShareBatch(const PatchSampler& sampler, const TrainingConfig& config) {
  const bool consistency = config.consistency_weight > 0;
  if (!sampler.has_labelled()) {
    if (!consistency) Refuse("no case has a label, and consistency is off");
    return {0, config.batch};
  }
  if (!sampler.has_unlabelled() || !consistency) return {config.batch, 0};
  const int64_t unlabelled = std::max<int64_t>(1, config.batch / 2);
  return {std::max<int64_t>(1, config.batch - unlabelled), unlabelled};
}

Augmenter::Sample ToTensors(const Patch& patch, int64_t channels, at::Device device) {
  const SizeDhw& s = patch.size;
  Augmenter::Sample sample;
  sample.image = at::empty({channels, s[0], s[1], s[2]}, at::kFloat);
  std::memcpy(sample.image.data_ptr<float>(), patch.image.data(),
              patch.image.size() * sizeof(float));
  sample.image = sample.image.to(device);
  if (!patch.label.empty()) {
    at::Tensor label = at::empty({s[0], s[1], s[2]}, at::kByte);
    std::memcpy(label.data_ptr<uint8_t>(), patch.label.data(), patch.label.size());
    sample.label = label.to(device).to(at::kLong);
  }
  return sample;
}

// Everything of one run that lives from its first step to its last.
class Run {
 public:
  Run(Unet3d& student, const NetworkConfig& network, const TrainingConfig& config,
      at::Device device, CaseSource& cases, const RunOptions& options)
      : student_(student),
        config_(config),
        options_(options),
        device_(device),
        channels_(network.in_channels),
        augment_options_(ChooseAugmentation(config)),
        sampler_(cases, ChooseSampling(network, config, augment_options_, options),
                 DeriveSeed(options.seed, 1)),
        augmenter_(augment_options_, DeriveSeed(options.seed, 2)),
        shape_(ShareBatch(sampler_, config)),
        parameters_(student.tensors()),
        optimiser_(parameters_, {.weight_decay = config.weight_decay}),
        teacher_(student, sampler_.has_labelled() ? MeanTeacher::Kind::kMovingAverage
                                                  : MeanTeacher::Kind::kFrozen) {}

  // Step number `done` (0-based) of the run; adds to the sums in `result`.
  StepReport Step(int64_t done, RunResult& result);

 private:
  Batch NextBatch();
  at::Tensor StudentView(const at::Tensor& images);
  // The consistency term; undefined where it is off.
  at::Tensor Consistency(const Batch& batch, const at::Tensor& logits, RunResult& result);
  std::vector<at::Tensor> Gradients(const at::Tensor& loss);

  Unet3d& student_;
  const TrainingConfig& config_;
  const RunOptions& options_;
  const at::Device device_;
  const int64_t channels_;
  const AugmentOptions augment_options_;
  PatchSampler sampler_;
  Augmenter augmenter_;
  const BatchShape shape_;
  std::vector<at::Tensor> parameters_;
  AdamW optimiser_;
  MeanTeacher teacher_;
};

Batch Run::NextBatch() {
  std::vector<at::Tensor> images, labels;
  for (int64_t i = 0; i < shape_.labelled + shape_.unlabelled; ++i) {
    const bool labelled = i < shape_.labelled;
    const Patch patch = labelled ? sampler_.NextLabelled() : sampler_.NextUnlabelled();
    const Augmenter::Sample sample =
        augmenter_.Spatial(ToTensors(patch, channels_, device_), config_.patch);
    images.push_back(sample.image);
    if (labelled) labels.push_back(sample.label);
  }
  Batch batch;
  batch.images = at::stack(images);
  if (!labels.empty()) batch.labels = at::stack(labels);
  return batch;
}

at::Tensor Run::StudentView(const at::Tensor& images) {
  if (config_.augment) return augmenter_.Intensity(images);
  if (config_.consistency_weight > 0) return augmenter_.Noise(images, kPerturbationSigma);
  return images;
}

at::Tensor Run::Consistency(const Batch& batch, const at::Tensor& logits, RunResult& result) {
  if (config_.consistency_weight <= 0) return {};
  // Unlabelled patches where there are some: on labelled ones the labels say more.
  const int64_t from = shape_.unlabelled > 0 ? shape_.labelled : 0;
  const int64_t count = batch.images.size(0) - from;
  const at::Tensor probabilities = teacher_.Probabilities(batch.images.narrow(0, from, count));
  if (shape_.unlabelled > 0) {
    const auto [certainty, best] = probabilities.max(1);
    result.teacher_certainty += certainty.mean().item<double>();
    result.pseudo_foreground_fraction += best.gt(0).to(at::kFloat).mean().item<double>();
  }
  return ConsistencyLoss(logits.narrow(0, from, count),
                         Sharpen(probabilities, config_.consistency_temperature));
}

std::vector<at::Tensor> Run::Gradients(const at::Tensor& loss) {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
  loss.backward();
  std::vector<at::Tensor> gradients;
  for (at::Tensor& parameter : parameters_) gradients.push_back(parameter.grad());
  const double norm = ClipGradients(gradients, kGradientNormMax);
  if (!std::isfinite(norm)) throw std::runtime_error("training: a gradient is not finite");
  return gradients;
}

StepReport Run::Step(int64_t done, RunResult& result) {
  const int64_t position = options_.start_step + done;
  const double ramp = ConsistencyRamp(position, config_.consistency_rampup_steps);
  const Batch batch = NextBatch();
  const at::Tensor logits = student_.Forward(StudentView(batch.images));

  StepReport report;
  report.step = done + 1;
  report.steps = options_.steps;
  at::Tensor loss = at::zeros({}, logits.options());
  if (shape_.labelled > 0) {
    const at::Tensor supervised =
        DiceCeLoss(logits.narrow(0, 0, shape_.labelled), batch.labels,
                   {.include_background = false, .batch = true});
    report.supervised_loss = supervised.item<double>();
    loss = loss + supervised;
  }
  if (const at::Tensor term = Consistency(batch, logits, result); term.defined()) {
    report.consistency_loss = term.item<double>();
    loss = loss + term * (config_.consistency_weight * ramp);
  }
  report.loss = loss.item<double>();
  if (!std::isfinite(report.loss)) throw std::runtime_error("training: the loss is not finite");

  const std::vector<at::Tensor> gradients = Gradients(loss);
  double rate = PolynomialRate(config_.learning_rate, position, config_.total_steps);
  // AdamW undoes any factor on the loss, so where consistency is the whole loss its ramp and
  // weight must act on the step instead; else a site without labels moves as far as one with.
  if (shape_.labelled == 0) rate *= ramp * config_.unlabelled_rate;
  optimiser_.Step(gradients, rate);
  teacher_.Follow(student_, EmaDecay(position, config_.ema_decay));
  return report;
}

}  // namespace

void CheckTrainingConfig(const TrainingConfig& config, const NetworkConfig& network) {
  CheckNetworkConfig(network);
  const SizeDhw stride = TotalStride(network);
  int64_t deepest = 1;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t n = config.patch[axis];
    if (n < 1 || n > 1024 || n % stride[axis] != 0) {
      Refuse("patch axis of " + std::to_string(n) + " voxels, must be a multiple of " +
             std::to_string(stride[axis]) + " up to 1024");
    }
    deepest *= n / stride[axis];
  }
  // One voxel has no variance: instance norm would erase it.
  if (deepest < 2) Refuse("the patch leaves one voxel at the deepest level");
  const auto fraction = [](double v) { return v >= 0.0 && v <= 1.0; };
  if (config.batch < 1 || config.batch > 64) Refuse("batch must be in 1..64");
  if (!(config.learning_rate > 0.0 && config.learning_rate <= 1.0)) {
    Refuse("learning_rate must be in (0, 1]");
  }
  if (!fraction(config.weight_decay)) Refuse("weight_decay must be in [0, 1]");
  if (config.total_steps < 1) Refuse("total_steps must be at least 1");
  if (!(config.ema_decay >= 0.0 && config.ema_decay < 1.0)) Refuse("ema_decay must be in [0, 1)");
  if (!(config.consistency_weight >= 0.0 && config.consistency_weight <= 1000.0)) {
    Refuse("consistency_weight must be in [0, 1000]");
  }
  if (config.consistency_rampup_steps < 0) Refuse("consistency_rampup_steps must not be negative");
  if (!(config.consistency_temperature > 0.0 && config.consistency_temperature <= 1.0)) {
    Refuse("consistency_temperature must be in (0, 1]");
  }
  if (!fraction(config.unlabelled_rate)) Refuse("unlabelled_rate must be in [0, 1]");
  if (!fraction(config.foreground_fraction)) Refuse("foreground_fraction must be in [0, 1]");
}

RunResult Train(Unet3d& student, const NetworkConfig& network, const TrainingConfig& config,
                at::Device device, CaseSource& cases, const RunOptions& options,
                const std::function<void(const StepReport&)>& observe,
                const std::atomic<bool>* stop) {
  if (options.steps < 0) Refuse("steps must not be negative");
  if (options.start_step < 0) Refuse("start_step must not be negative");
  Run run(student, network, config, device, cases, options);
  RunResult result;
  while (result.steps_done < options.steps) {
    if (stop != nullptr && stop->load()) break;
    const StepReport report = run.Step(result.steps_done, result);
    ++result.steps_done;
    result.mean_loss += report.loss;
    result.mean_supervised_loss += report.supervised_loss;
    result.mean_consistency_loss += report.consistency_loss;
    if (observe) observe(report);
  }
  if (result.steps_done > 0) {
    const double n = static_cast<double>(result.steps_done);
    for (double* sum : {&result.mean_loss, &result.mean_supervised_loss,
                        &result.mean_consistency_loss, &result.teacher_certainty,
                        &result.pseudo_foreground_fraction}) {
      *sum /= n;
    }
  }
  return result;
}

}  // namespace consilium::training
