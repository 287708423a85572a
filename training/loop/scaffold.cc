#include "training/loop/scaffold.h"

namespace consilium::training {
namespace {

// An empty list is all zeros.
std::vector<at::Tensor> ControlFrom(const Unet3d& network, const std::vector<NamedArray>& arrays,
                                    const std::string& what) {
  if (!arrays.empty()) CheckArrays(network, arrays, what);
  std::vector<at::Tensor> tensors;
  for (size_t i = 0; i < network.parameters().size(); ++i) {
    const at::Tensor parameter = network.parameters()[i].tensor.detach();
    tensors.push_back(arrays.empty() ? at::zeros_like(parameter)
                                     : TensorFrom(arrays[i]).to(parameter.device()));
  }
  return tensors;
}

}  // namespace

Scaffold::Scaffold(const Unet3d& network, const ScaffoldControls& controls,
                   std::span<const std::string> local)
    : parameters_(network.parameters()) {
  const std::vector<at::Tensor> server = ControlFrom(network, controls.server, "server control");
  const std::vector<at::Tensor> site = ControlFrom(network, controls.site, "site control");
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (IsLocal(parameters_[i].name, local)) continue;
    indices_.push_back(i);
    correction_.push_back(server[i] - site[i]);
    control_.push_back(site[i]);
    start_.push_back(parameters_[i].tensor.detach().clone());
  }
}

void Scaffold::Correct(std::vector<at::Tensor>& gradients, double rate) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> shared;
  for (size_t i : indices_) shared.push_back(gradients[i]);
  at::_foreach_add_(shared, correction_);
  rates_ += rate;
}

std::vector<NamedArray> Scaffold::NewControl() const {
  at::NoGradGuard no_grad;
  std::vector<NamedTensor> result;
  for (const NamedTensor& parameter : parameters_) {
    result.push_back({parameter.name, at::zeros_like(parameter.tensor)});
  }
  for (size_t k = 0; k < indices_.size(); ++k) {
    const size_t i = indices_[k];
    result[i].tensor = control_[k];
    if (rates_ == 0) continue;
    // In double: x - y is small against x, and is divided by something small.
    const at::Tensor moved =
        start_[k].to(at::kDouble) - parameters_[i].tensor.detach().to(at::kDouble);
    result[i].tensor = (moved / rates_ - correction_[k]).to(at::kFloat);
  }
  return ArraysFrom(result);
}

}  // namespace consilium::training
