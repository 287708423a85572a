#include "training/loop/proximal.h"

namespace consilium::training {

ProximalTerm::ProximalTerm(const Unet3d& network, const Unet3d& anchor, double mu,
                           std::span<const std::string> local)
    : mu_(mu) {
  if (mu_ == 0) return;
  for (size_t i = 0; i < network.parameters().size(); ++i) {
    const NamedTensor& parameter = network.parameters()[i];
    if (IsLocal(parameter.name, local)) continue;
    indices_.push_back(i);
    weights_.push_back(parameter.tensor.detach());
    anchor_.push_back(anchor.parameters()[i].tensor.detach().clone());
  }
}

void ProximalTerm::AddTo(std::vector<at::Tensor>& gradients) const {
  if (mu_ == 0) return;
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> shared;
  for (size_t i : indices_) shared.push_back(gradients[i]);
  at::_foreach_add_(shared, at::_foreach_sub(weights_, anchor_), mu_);
}

}  // namespace consilium::training
