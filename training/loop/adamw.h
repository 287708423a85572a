// AdamW (Loshchilov and Hutter 2019) over a list of tensors, a handful of fused calls per step.
//
// Not thread-safe. Memory: two floats per weight. Decay applies to weights of two or more
// dimensions only: norms and biases have no scale to keep small.
#ifndef CONSILIUM_TRAINING_LOOP_ADAMW_H_
#define CONSILIUM_TRAINING_LOOP_ADAMW_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace consilium::training {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-5;
};

class AdamW {
 public:
  // `parameters` share storage with the network's; moments start at zero.
  AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options);

  // One update. `gradients` in the order of the parameters; not kept.
  void Step(const std::vector<at::Tensor>& gradients, double learning_rate);

 private:
  std::vector<at::Tensor> parameters_;  // detached views
  std::vector<at::Tensor> decayed_;     // those of two or more dimensions
  std::vector<at::Tensor> mean_;
  std::vector<at::Tensor> square_;
  AdamWOptions options_;
  int64_t step_ = 0;
};

// Scales `gradients` in place so that their joint L2 norm is at most `norm_max`. Returns the norm
// before, which is not finite where a gradient is not.
double ClipGradients(std::vector<at::Tensor>& gradients, double norm_max);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_ADAMW_H_
