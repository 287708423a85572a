// Batches of augmented patches from a set of cases, as tensors.
#ifndef CONSILIUM_TRAINING_LOOP_BATCH_SOURCE_H_
#define CONSILIUM_TRAINING_LOOP_BATCH_SOURCE_H_

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "training/data/augment.h"
#include "training/data/patch_prefetch.h"
#include "training/data/patch_sampler.h"
#include "training/session.h"

namespace consilium::training {

// An independent seed from one, by purpose: splitmix64 (Steele et al. 2014).
uint64_t DeriveSeed(uint64_t seed, uint64_t purpose);

struct BatchShape {
  int64_t labelled = 0;
  int64_t unlabelled = 0;
};

struct Batch {
  at::Tensor images;  // [labelled + unlabelled, C, D, H, W], labelled first
  at::Tensor labels;  // [labelled, D, H, W] int64; undefined where labelled == 0
};

// Not thread-safe. Borrows `cases`, which must outlive it. Equal seeds and cases give equal
// batches.
class BatchSource {
 public:
  // `usable`: indices into `cases`, empty: all. Throws std::invalid_argument as PatchSampler, and
  // where no usable case has a label and consistency is off.
  BatchSource(CaseSource& cases, const std::vector<int64_t>& usable, const NetworkConfig& network,
              const TrainingConfig& config, at::Device device, uint64_t seed);

  // From now on the patches of the next `batches` are cut on another thread, a batch ahead. The
  // batches are the same. Once, and before the first.
  void ReadAhead(int64_t batches);

  bool has_labelled() const { return shape_.labelled > 0; }
  const BatchShape& shape() const { return shape_; }

  // As the teacher sees it: spatial changes alone. Throws as PatchSampler.
  Batch Next();
  // A copy of a batch's images as the student sees it; differs from the teacher's wherever there is
  // a consistency term.
  at::Tensor StudentView(const at::Tensor& images);

 private:
  Patch NextPatch(bool labelled);

  const SizeDhw patch_;
  const bool augment_;
  const bool consistency_;
  const int64_t channels_;
  const at::Device device_;
  PatchSampler sampler_;
  Augmenter augmenter_;
  const BatchShape shape_;
  std::optional<PatchPrefetcher> ahead_;  // last: it uses the sampler
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_BATCH_SOURCE_H_
