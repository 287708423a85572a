// Supervised loss: soft Dice plus cross-entropy, with MONAI's conventions (DiceCELoss, softmax).
//
// Dice: Milletari et al. 2016 with plain sums in the denominator:
//   dice(n, c) = 1 - (2 sum(p g) + s) / (sum(p) + sum(g) + s),  s = 1e-5
// averaged over samples and classes; with `batch` the sums also run over the samples. The
// cross-entropy is averaged over all voxels and always counts background.
#ifndef CONSILIUM_TRAINING_LOSS_DICE_CE_H_
#define CONSILIUM_TRAINING_LOSS_DICE_CE_H_

#include <ATen/ATen.h>

namespace consilium::training {

struct DiceCeOptions {
  bool include_background = true;
  // Sums over the batch before the ratio: a patch without a structure does not then count as a
  // failure for every stray voxel.
  bool batch = false;
  double dice_weight = 1.0;
  double ce_weight = 1.0;
};

// `logits` [N, C, ...], `labels` [N, ...] int64 with values < C. A scalar that can be
// differentiated. Throws c10::Error (a std::exception) where the shapes do not fit.
at::Tensor DiceCeLoss(const at::Tensor& logits, const at::Tensor& labels,
                      const DiceCeOptions& options = {});

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOSS_DICE_CE_H_
