// The proximal term of FedProx (Li et al. 2020, arXiv 1812.06127, eq. 2) and of Ditto's personal
// model (Li et al. 2021, arXiv 2012.04221, algorithm 1): gradient mu (w - w_anchor).
#ifndef CONSILIUM_TRAINING_LOOP_PROXIMAL_H_
#define CONSILIUM_TRAINING_LOOP_PROXIMAL_H_

#include <ATen/ATen.h>

#include <span>
#include <string>
#include <vector>

#include "training/models/unet3d.h"

namespace consilium::training {

// Not thread-safe. Memory: a copy of the anchor; nothing where mu is 0.
class ProximalTerm {
 public:
  // `network` (whose tensors it shares) and `anchor` (copied) have equal configurations and may be
  // the same. Parameters that `local` matches get no term.
  ProximalTerm(const Unet3d& network, const Unet3d& anchor, double mu,
               std::span<const std::string> local);

  // gradients += mu (w - anchor), with w as it is now; in the network's order.
  void AddTo(std::vector<at::Tensor>& gradients) const;

 private:
  double mu_;
  std::vector<size_t> indices_;      // of shared parameters
  std::vector<at::Tensor> weights_;  // detached views of these
  std::vector<at::Tensor> anchor_;
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_PROXIMAL_H_
