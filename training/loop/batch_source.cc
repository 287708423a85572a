#include "training/loop/batch_source.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace consilium::training {
namespace {

// What tells student from teacher where augmentation is off.
constexpr double kPerturbationSigma = 0.1;

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
                                   const std::vector<int64_t>& usable) {
  PatchSamplerOptions options;
  options.channels = network.in_channels;
  options.classes = network.classes;
  options.patch = config.patch;
  options.crop =
      config.augment ? CropForAugment(config.patch, ChooseAugmentation(config)) : config.patch;
  options.foreground_fraction = config.foreground_fraction;
  options.cases = usable;
  return options;
}

// Both streams share the batch, so that a step costs the same with and without unlabelled cases.
BatchShape ShareBatch(const PatchSampler& sampler, const TrainingConfig& config) {
  const bool consistency = config.consistency_weight > 0;
  if (!sampler.has_labelled()) {
    if (!consistency) {
      throw std::invalid_argument("training: no case has a label, and consistency is off");
    }
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

}  // namespace

uint64_t DeriveSeed(uint64_t seed, uint64_t purpose) {
  uint64_t z = seed + purpose * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

BatchSource::BatchSource(CaseSource& cases, const std::vector<int64_t>& usable,
                         const NetworkConfig& network, const TrainingConfig& config,
                         at::Device device, uint64_t seed)
    : patch_(config.patch),
      augment_(config.augment),
      consistency_(config.consistency_weight > 0),
      channels_(network.in_channels),
      device_(device),
      sampler_(cases, ChooseSampling(network, config, usable), DeriveSeed(seed, 1)),
      augmenter_(ChooseAugmentation(config), DeriveSeed(seed, 2)),
      shape_(ShareBatch(sampler_, config)) {}

void BatchSource::ReadAhead(int64_t batches) {
  ahead_.emplace(sampler_, PatchPrefetcher::Order{shape_.labelled, shape_.unlabelled, batches,
                                                  shape_.labelled + shape_.unlabelled});
}

Patch BatchSource::NextPatch(bool labelled) {
  if (ahead_) return ahead_->Next();
  return labelled ? sampler_.NextLabelled() : sampler_.NextUnlabelled();
}

Batch BatchSource::Next() {
  std::vector<at::Tensor> images, labels;
  for (int64_t i = 0; i < shape_.labelled + shape_.unlabelled; ++i) {
    const bool labelled = i < shape_.labelled;
    const Patch patch = NextPatch(labelled);
    const Augmenter::Sample sample =
        augmenter_.Spatial(ToTensors(patch, channels_, device_), patch_);
    images.push_back(sample.image);
    if (labelled) labels.push_back(sample.label);
  }
  Batch batch;
  batch.images = at::stack(images);
  if (!labels.empty()) batch.labels = at::stack(labels);
  return batch;
}

at::Tensor BatchSource::StudentView(const at::Tensor& images) {
  if (augment_) return augmenter_.Intensity(images);
  if (consistency_) return augmenter_.Noise(images, kPerturbationSigma);
  return images;
}

}  // namespace consilium::training
