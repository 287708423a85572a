#include "training/loop/sgd.h"

namespace consilium::training {

void SgdStep(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients,
             double learning_rate, double weight_decay) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> all, decayed;
  for (const at::Tensor& parameter : parameters) {
    all.push_back(parameter.detach());
    if (parameter.dim() > 1) decayed.push_back(all.back());
  }
  if (weight_decay != 0 && !decayed.empty()) {  // foreach calls refuse an empty list
    at::_foreach_mul_(decayed, 1.0 - learning_rate * weight_decay);
  }
  at::_foreach_add_(all, gradients, -learning_rate);
}

}  // namespace consilium::training
