#include "training/loss/consistency.h"

#include <algorithm>
#include <cmath>

namespace consilium::training {

at::Tensor ConsistencyLoss(const at::Tensor& student_logits,
                           const at::Tensor& teacher_probabilities) {
  return at::mse_loss(at::softmax(student_logits, 1), teacher_probabilities.detach());
}

double ConsistencyRamp(int64_t step, int64_t rampup_steps) {
  if (rampup_steps <= 0) return 1.0;
  const double t =
      std::clamp(static_cast<double>(step) / static_cast<double>(rampup_steps), 0.0, 1.0);
  return std::exp(-5.0 * (1.0 - t) * (1.0 - t));
}

at::Tensor Sharpen(const at::Tensor& probabilities, double temperature) {
  if (temperature == 1.0) return probabilities;
  const at::Tensor raised = probabilities.clamp_min(1e-8).pow(1.0 / temperature);
  return raised / raised.sum(1, /*keepdim=*/true);
}

}  // namespace consilium::training
