#include "training/loop/adamw.h"

#include <cmath>
#include <utility>

namespace consilium::training {

AdamW::AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (at::Tensor& parameter : parameters_) {
    parameter = parameter.detach();
    if (parameter.dim() > 1) decayed_.push_back(parameter);
    mean_.push_back(at::zeros_like(parameter));
    square_.push_back(at::zeros_like(parameter));
  }
}

void AdamW::Step(const std::vector<at::Tensor>& gradients, double learning_rate) {
  at::NoGradGuard no_grad;
  ++step_;
  const double correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(step_));
  const double correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(step_));
  if (!decayed_.empty()) {  // foreach calls refuse an empty list
    at::_foreach_mul_(decayed_, 1.0 - learning_rate * options_.weight_decay);
  }
  at::_foreach_mul_(mean_, options_.beta1);
  at::_foreach_add_(mean_, gradients, 1.0 - options_.beta1);
  at::_foreach_mul_(square_, options_.beta2);
  at::_foreach_addcmul_(square_, gradients, gradients, 1.0 - options_.beta2);
  // p -= lr / c1 * m / (sqrt(v / c2) + eps), with sqrt(c2) moved into the rate and the epsilon.
  const double root2 = std::sqrt(correction2);
  std::vector<at::Tensor> scale = at::_foreach_sqrt(square_);
  at::_foreach_add_(scale, options_.epsilon * root2);
  at::_foreach_addcdiv_(parameters_, mean_, scale, -learning_rate * root2 / correction1);
}

double ClipGradients(std::vector<at::Tensor>& gradients, double norm_max) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> squares;
  for (const at::Tensor& gradient : gradients) squares.push_back(gradient.square().sum());
  const double norm = std::sqrt(at::stack(squares).sum().item<double>());
  if (norm > norm_max) at::_foreach_mul_(gradients, norm_max / norm);
  return norm;
}

}  // namespace consilium::training
