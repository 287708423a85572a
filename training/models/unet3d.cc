#include "training/models/unet3d.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace consilium::training {
namespace {

constexpr double kLeakySlope = 0.01;
constexpr double kNormEpsilon = 1e-5;
constexpr int64_t kLevelsMax = 8;
constexpr int64_t kChannelsMax = 4096;

[[noreturn]] void Refuse(const std::string& reason) {
  throw std::invalid_argument("network: " + reason);
}

at::Tensor NormAndActivate(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor normed = at::instance_norm(x, weight, bias, {}, {}, /*use_input_stats=*/true,
                                        /*momentum=*/0.1, kNormEpsilon, /*cudnn_enabled=*/true);
  return at::leaky_relu_(normed, kLeakySlope);
}

bool HasAvx512() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
#else
  return true;  // only asked to work around AVX2
#endif
}

// 3x3x3 with one voxel of zero padding. On the CPU, two detours around slow paths (times: 8 to 8
// channels, 40x56x40, one AVX2 core):
//  - LibTorch 1.13 sends a small batch of one through im2col, 75 ms, instead of oneDNN, 9 ms.
//  - oneDNN 2.6 has no direct kernel for the weight gradient of a padded 3D convolution on AVX2:
//    45 ms for a batch of two, where that of an unpadded one takes 9. Its AVX-512 kernels take
//    padding.
at::Tensor Conv3(const at::Tensor& x, const at::Tensor& weight, at::IntArrayRef stride) {
  if (x.device().is_cpu() && !at::GradMode::is_enabled() && x.size(0) == 1 && at::hasMKLDNN()) {
    return at::mkldnn_convolution(x, weight, {}, /*padding=*/{1, 1, 1}, stride,
                                  /*dilation=*/{1, 1, 1}, /*groups=*/1);
  }
  if (x.device().is_cpu() && at::GradMode::is_enabled() && !HasAvx512()) {
    return at::conv3d(at::constant_pad_nd(x, {1, 1, 1, 1, 1, 1}, 0), weight, {}, stride);
  }
  return at::conv3d(x, weight, {}, stride, /*padding=*/1);
}

// 1x1x1 convolution as a matrix product: LibTorch 1.13 sends it through im2col instead.
at::Tensor Conv1(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor y = at::matmul(weight.flatten(1), x.flatten(2)) + bias.unsqueeze(1);
  return y.view({x.size(0), weight.size(0), x.size(2), x.size(3), x.size(4)});
}

// Transposed convolution whose kernel equals its stride: no two inputs meet in an output, so it is
// a matrix product to [out * s * s * s] channels and a shuffle of these into space.
at::Tensor Upsample(const at::Tensor& x, const at::Tensor& weight, const SizeDhw& s) {
  if (!x.device().is_cpu()) return at::conv_transpose3d(x, weight, {}, s);
  const int64_t n = x.size(0), d = x.size(2), h = x.size(3), w = x.size(4), out = weight.size(1);
  const at::Tensor y = at::matmul(weight.flatten(1).t(), x.flatten(2));
  return y.view({n, out, s[0], s[1], s[2], d, h, w})
      .permute({0, 1, 5, 2, 6, 3, 7, 4})
      .reshape({n, out, d * s[0], h * s[1], w * s[2]});
}

std::string ShapeText(at::IntArrayRef shape) {
  std::string text = "[";
  for (int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

}  // namespace

void CheckNetworkConfig(const NetworkConfig& config) {
  if (config.kind != NetworkConfig::Kind::kUnet) Refuse("unknown kind");
  if (config.in_channels < 1 || config.in_channels > kChannelsMax) {
    Refuse("in_channels is " + std::to_string(config.in_channels));
  }
  if (config.classes < 2 || config.classes > 255) {
    Refuse("classes must be in 2..255, is " + std::to_string(config.classes));
  }
  const int64_t levels = static_cast<int64_t>(config.features.size());
  if (levels < 2 || levels > kLevelsMax) Refuse(std::to_string(levels) + " levels, not 2..8");
  if (config.strides.size() != config.features.size()) {
    Refuse("features and strides differ in length");
  }
  for (int64_t features : config.features) {
    if (features < 1 || features > kChannelsMax) Refuse("features of " + std::to_string(features));
  }
  // The output must be as large as the input, so the first level keeps the resolution.
  if (config.strides[0] != SizeDhw{1, 1, 1}) Refuse("the first stride must be 1, 1, 1");
  for (const SizeDhw& stride : config.strides) {
    for (int64_t s : stride) {
      if (s < 1 || s > 4) Refuse("stride of " + std::to_string(s) + ", not 1..4");
    }
  }
}

SizeDhw TotalStride(const NetworkConfig& config) {
  SizeDhw total = {1, 1, 1};
  for (const SizeDhw& stride : config.strides) {
    for (int axis = 0; axis < 3; ++axis) total[axis] *= stride[axis];
  }
  return total;
}

Unet3d::Unet3d(const NetworkConfig& config, uint64_t seed, at::Device device) {
  CheckNetworkConfig(config);
  const std::vector<int64_t>& features = config.features;
  const size_t levels = features.size();
  for (size_t level = 0; level < levels; ++level) {
    const std::string name = level == 0            ? "input_block"
                             : level == levels - 1 ? "bottleneck"
                                                   : "downsamples." + std::to_string(level - 1);
    const int64_t in = level == 0 ? config.in_channels : features[level - 1];
    down_.push_back(AddBlock(name, in, features[level], config.strides[level]));
  }
  for (size_t level = levels - 1; level > 0; --level) {
    const std::string name = "upsamples." + std::to_string(levels - 1 - level);
    const SizeDhw& s = config.strides[level];
    const int64_t out = features[level - 1];
    const size_t transposed =
        Add(name + ".transp_conv.conv.weight", {features[level], out, s[0], s[1], s[2]});
    up_.push_back({transposed, s, AddBlock(name + ".conv_block", 2 * out, out, {1, 1, 1})});
  }
  head_weight_ = Add("output_block.conv.conv.weight", {config.classes, features[0], 1, 1, 1});
  head_bias_ = Add("output_block.conv.conv.bias", {config.classes});
  Initialise(seed, device);
}

size_t Unet3d::Add(const std::string& name, at::IntArrayRef shape) {
  parameters_.push_back({name, at::zeros(shape, at::kFloat)});
  return parameters_.size() - 1;
}

Unet3d::Block Unet3d::AddBlock(const std::string& prefix, int64_t in, int64_t out,
                               const SizeDhw& stride) {
  Block block;
  block.stride = stride;
  block.conv1 = Add(prefix + ".conv1.conv.weight", {out, in, 3, 3, 3});
  block.conv2 = Add(prefix + ".conv2.conv.weight", {out, out, 3, 3, 3});
  block.norm1_weight = Add(prefix + ".norm1.weight", {out});
  block.norm1_bias = Add(prefix + ".norm1.bias", {out});
  block.norm2_weight = Add(prefix + ".norm2.weight", {out});
  block.norm2_bias = Add(prefix + ".norm2.bias", {out});
  return block;
}

void Unet3d::Initialise(uint64_t seed, at::Device device) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const double gain = std::sqrt(2.0 / (1.0 + kLeakySlope * kLeakySlope));
  for (NamedTensor& parameter : parameters_) {
    at::Tensor& tensor = parameter.tensor;
    if (tensor.dim() > 1) {
      const double fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
      tensor.normal_(0.0, gain / std::sqrt(fan_in), generator);
    } else if (parameter.name.ends_with(".weight")) {
      tensor.fill_(1.0);
    }
    tensor = tensor.to(device).set_requires_grad(true);
  }
}

at::Tensor Unet3d::Run(const Block& block, at::Tensor x) const {
  x = Conv3(x, P(block.conv1), block.stride);
  x = NormAndActivate(x, P(block.norm1_weight), P(block.norm1_bias));
  x = Conv3(x, P(block.conv2), {1, 1, 1});
  return NormAndActivate(x, P(block.norm2_weight), P(block.norm2_bias));
}

at::Tensor Unet3d::Forward(const at::Tensor& input) const {
  std::vector<at::Tensor> skips;
  at::Tensor x = input;
  for (const Block& block : down_) {
    x = Run(block, x);
    skips.push_back(x);
  }
  skips.pop_back();  // the bottleneck's output goes up, it is no skip
  for (const UpBlock& up : up_) {
    x = Upsample(x, P(up.transposed), up.stride);
    x = Run(up.block, at::cat({x, skips.back()}, 1));
    skips.pop_back();
  }
  return Conv1(x, P(head_weight_), P(head_bias_));
}

std::vector<at::Tensor> Unet3d::tensors() const {
  std::vector<at::Tensor> list;
  for (const NamedTensor& parameter : parameters_) list.push_back(parameter.tensor);
  return list;
}

Unet3d Unet3d::FrozenCopy() const {
  Unet3d copy = *this;
  for (NamedTensor& parameter : copy.parameters_) {
    parameter.tensor = parameter.tensor.detach().clone();
  }
  return copy;
}

void Unet3d::CopyFrom(const Unet3d& other) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].tensor.copy_(other.parameters_[i].tensor);
  }
}

std::vector<NamedArray> ArraysFrom(const std::vector<NamedTensor>& tensors) {
  std::vector<NamedArray> arrays;
  for (const NamedTensor& named : tensors) {
    const at::Tensor tensor = named.tensor.detach().to(at::kCPU).contiguous();
    const float* begin = tensor.data_ptr<float>();
    arrays.push_back({named.name, tensor.sizes().vec(), {begin, begin + tensor.numel()}});
  }
  return arrays;
}

void CheckArrays(const Unet3d& network, const std::vector<NamedArray>& arrays,
                 const std::string& what) {
  const auto refuse = [&](const std::string& reason) {
    throw std::invalid_argument(what + ": " + reason);
  };
  const std::vector<NamedTensor>& parameters = network.parameters();
  if (arrays.size() != parameters.size()) {
    refuse(std::to_string(arrays.size()) + " arrays where the network has " +
           std::to_string(parameters.size()));
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    const NamedArray& array = arrays[i];
    const at::Tensor& tensor = parameters[i].tensor;
    if (array.name != parameters[i].name) {
      refuse("array " + std::to_string(i) + " must be " + parameters[i].name);
    }
    if (tensor.sizes() != at::IntArrayRef(array.shape) ||
        static_cast<int64_t>(array.values.size()) != tensor.numel()) {
      refuse(array.name + " is " + ShapeText(array.shape) + ", must be " +
             ShapeText(tensor.sizes()));
    }
    const bool finite = std::all_of(array.values.begin(), array.values.end(),
                                    [](float v) { return std::isfinite(v); });
    if (!finite) refuse(array.name + " is not finite");
  }
}

at::Tensor TensorFrom(const NamedArray& array) {
  at::Tensor tensor = at::empty(array.shape, at::kFloat);
  std::memcpy(tensor.data_ptr<float>(), array.values.data(), array.values.size() * sizeof(float));
  return tensor;
}

std::vector<NamedArray> ExportFrom(const Unet3d& network) {
  return ArraysFrom(network.parameters());
}

void ImportInto(Unet3d& network, const std::vector<NamedArray>& weights) {
  CheckArrays(network, weights, "weights");
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < weights.size(); ++i) {
    network.parameters()[i].tensor.detach().copy_(TensorFrom(weights[i]));
  }
}

}  // namespace consilium::training
