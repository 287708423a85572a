// Stochastic gradient descent without momentum over a list of tensors.
#ifndef CONSILIUM_TRAINING_LOOP_SGD_H_
#define CONSILIUM_TRAINING_LOOP_SGD_H_

#include <ATen/ATen.h>

#include <vector>

namespace consilium::training {

// p -= learning_rate (g + weight_decay p), the decay for tensors of two or more dimensions alone.
// `parameters` share storage with the network's; the gradients stay.
void SgdStep(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients,
             double learning_rate, double weight_decay);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_SGD_H_
