// 3D U-Net for segmentation, equal to MONAI's DynUNet without residual blocks and without deep
// supervision: same parameter names, order, shapes and forward pass.
//
// Ronneberger et al. 2015 (U-Net), Cicek et al. 2016 (3D), Isensee et al. 2021 (nnU-Net: strided
// convolutions, instance norm, leaky ReLU 0.01). Level i has features[i] channels and is entered
// with stride strides[i]; each level is two blocks of conv 3x3x3 - instance norm - leaky ReLU.
//
// Plain ATen functions over a list of named tensors instead of torch::nn modules: the names need no
// module tree, and this file compiles in a tenth of the time.
#ifndef CONSILIUM_TRAINING_MODELS_UNET3D_H_
#define CONSILIUM_TRAINING_MODELS_UNET3D_H_

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "training/session.h"

namespace consilium::training {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

// Throws std::invalid_argument where `config` describes no network.
void CheckNetworkConfig(const NetworkConfig& config);

// Product of the strides by axis: patches must be multiples of it.
SizeDhw TotalStride(const NetworkConfig& config);

// Thread-compatible: concurrent Forward calls are fine while nobody writes the parameters.
class Unet3d {
 public:
  // He-normal initial weights (He et al. 2015) drawn from `seed`, on the CPU, then moved.
  // Throws std::invalid_argument as CheckNetworkConfig.
  Unet3d(const NetworkConfig& config, uint64_t seed, at::Device device);

  // [N, in_channels, D, H, W] -> logits [N, classes, D, H, W]; D, H, W multiples of TotalStride.
  at::Tensor Forward(const at::Tensor& input) const;

  // Leaf tensors that require gradients, in MONAI's state_dict order. Writing into them (under
  // NoGradGuard) changes the network.
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  std::vector<at::Tensor> tensors() const;

  // A second network with a copy of these values, without gradients.
  Unet3d FrozenCopy() const;
  // Copies the values of a network of equal configuration.
  void CopyFrom(const Unet3d& other);

 private:
  struct Block {  // indices into parameters_
    size_t conv1, conv2, norm1_weight, norm1_bias, norm2_weight, norm2_bias;
    SizeDhw stride;
  };
  struct UpBlock {
    size_t transposed;
    SizeDhw stride;
    Block block;
  };

  size_t Add(const std::string& name, at::IntArrayRef shape);
  Block AddBlock(const std::string& prefix, int64_t in, int64_t out, const SizeDhw& stride);
  void Initialise(uint64_t seed, at::Device device);
  at::Tensor Run(const Block& block, at::Tensor x) const;
  const at::Tensor& P(size_t index) const { return parameters_[index].tensor; }

  std::vector<NamedTensor> parameters_;
  std::vector<Block> down_;  // by level; the last is the bottleneck
  std::vector<UpBlock> up_;  // deepest first
  size_t head_weight_ = 0;
  size_t head_bias_ = 0;
};

// Plain copies on the CPU of float tensors wherever they are, and one tensor back.
std::vector<NamedArray> ArraysFrom(const std::vector<NamedTensor>& tensors);
at::Tensor TensorFrom(const NamedArray& array);

// Throws std::invalid_argument, its text led by `what`, where names, order or shapes of `arrays`
// are not those of the network's parameters, or a value is not finite.
void CheckArrays(const Unet3d& network, const std::vector<NamedArray>& arrays,
                 const std::string& what);

// The parameters as arrays, and back. ImportInto checks as CheckArrays before it writes any, and
// then leaves the network as it was.
std::vector<NamedArray> ExportFrom(const Unet3d& network);
void ImportInto(Unet3d& network, const std::vector<NamedArray>& weights);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_MODELS_UNET3D_H_
