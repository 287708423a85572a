#include "training/loop/mean_teacher.h"

#include <vector>

namespace consilium::training {

void MeanTeacher::Follow(const Unet3d& student, double decay) {
  if (kind_ == Kind::kFrozen) return;
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> teacher = network_.tensors();
  std::vector<at::Tensor> source;
  for (const at::Tensor& tensor : student.tensors()) source.push_back(tensor.detach());
  at::_foreach_mul_(teacher, decay);
  at::_foreach_add_(teacher, source, 1.0 - decay);
}

at::Tensor MeanTeacher::Probabilities(const at::Tensor& input) const {
  at::NoGradGuard no_grad;
  return at::softmax(network_.Forward(input), 1);
}

}  // namespace consilium::training
