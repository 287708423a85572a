// SCAFFOLD at a site (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, option II).
#ifndef CONSILIUM_TRAINING_LOOP_SCAFFOLD_H_
#define CONSILIUM_TRAINING_LOOP_SCAFFOLD_H_

#include <ATen/ATen.h>

#include <span>
#include <string>
#include <vector>

#include "training/models/unet3d.h"
#include "training/session.h"

namespace consilium::training {

// The control variates of one run. Not thread-safe. Memory: three copies of the shared weights.
class Scaffold {
 public:
  // Shares the tensors of `network`, whose values are x from here on. Parameters that `local`
  // matches are not corrected. Throws std::invalid_argument where an array of `controls` does not
  // fit the network or is not finite.
  Scaffold(const Unet3d& network, const ScaffoldControls& controls,
           std::span<const std::string> local);

  // gradients += c - c_i, for a step of plain SGD with learning rate `rate`.
  void Correct(std::vector<at::Tensor>& gradients, double rate);

  // c_i+ = c_i - c + (x - y_i) / (sum of the rates so far), y_i the network's values now; c_i where
  // that sum is 0; zeros for local parameters.
  std::vector<NamedArray> NewControl() const;

 private:
  const std::vector<NamedTensor> parameters_;
  std::vector<size_t> indices_;                           // of shared parameters
  std::vector<at::Tensor> correction_, control_, start_;  // c - c_i, c_i and x of these
  double rates_ = 0;
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_SCAFFOLD_H_
