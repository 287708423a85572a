#include "training/loss/dice_ce.h"

#include <vector>

namespace consilium::training {
namespace {

constexpr double kSmooth = 1e-5;

}  // namespace

at::Tensor DiceCeLoss(const at::Tensor& logits, const at::Tensor& labels,
                      const DiceCeOptions& options) {
  const at::Tensor log_probabilities = at::log_softmax(logits, 1);
  const at::Tensor target =
      at::zeros_like(log_probabilities).scatter_(1, labels.unsqueeze(1), 1.0);
  const double voxels = static_cast<double>(labels.numel());
  const at::Tensor cross_entropy = -(log_probabilities * target).sum() / voxels;

  at::Tensor p = log_probabilities.exp();
  at::Tensor g = target;
  if (!options.include_background) {
    p = p.narrow(1, 1, p.size(1) - 1);
    g = g.narrow(1, 1, g.size(1) - 1);
  }
  std::vector<int64_t> axes;
  for (int64_t axis = 2; axis < logits.dim(); ++axis) axes.push_back(axis);
  if (options.batch) axes.push_back(0);
  const at::Tensor overlap = (p * g).sum(axes);
  const at::Tensor total = p.sum(axes) + g.sum(axes);
  const at::Tensor dice = 1.0 - (2.0 * overlap + kSmooth) / (total + kSmooth);
  return options.dice_weight * dice.mean() + options.ce_weight * cross_entropy;
}

}  // namespace consilium::training
