#include "training/infer/sliding_window.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace consilium::training {
namespace {

constexpr double kWeightMin = 1e-3;

void CheckOptions(const SlidingWindowOptions& options) {
  for (int64_t n : options.window) {
    if (n < 1) throw std::invalid_argument("window of " + std::to_string(n) + " voxels");
  }
  if (!(options.overlap >= 0.0 && options.overlap < 1.0)) {
    throw std::invalid_argument("window overlap must be in [0, 1)");
  }
  if (options.batch < 1) throw std::invalid_argument("window batch must be at least 1");
  if (!(options.sigma_scale > 0.0)) throw std::invalid_argument("sigma_scale must be positive");
}

std::vector<int64_t> AxisStarts(int64_t size, int64_t window, double overlap) {
  int64_t interval = window;
  if (size != window) {
    interval = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(window) *
                                                         (1.0 - overlap)));
  }
  std::vector<int64_t> starts;
  for (int64_t start = 0;; start += interval) {
    starts.push_back(std::min(start, size - window));
    if (start + window >= size) return starts;
  }
}

// [C, window] of `volume` from `start` on.
at::Tensor Window(const at::Tensor& volume, const SizeDhw& start, const SizeDhw& window) {
  at::Tensor view = volume;
  for (int axis = 0; axis < 3; ++axis) {
    view = view.narrow(volume.dim() - 3 + axis, start[axis], window[axis]);
  }
  return view;
}

}  // namespace

std::vector<SizeDhw> WindowStarts(const SizeDhw& size, const SlidingWindowOptions& options) {
  std::array<std::vector<int64_t>, 3> axes;
  for (int axis = 0; axis < 3; ++axis) {
    axes[axis] = AxisStarts(size[axis], options.window[axis], options.overlap);
  }
  std::vector<SizeDhw> starts;
  for (int64_t d : axes[0]) {
    for (int64_t h : axes[1]) {
      for (int64_t w : axes[2]) starts.push_back({d, h, w});
    }
  }
  return starts;
}

at::Tensor WindowWeight(const SlidingWindowOptions& options) {
  at::Tensor weight = at::ones(options.window, at::kFloat);
  if (options.weight == SlidingWindowOptions::Weight::kConstant) return weight;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t n = options.window[axis];
    const double sigma = options.sigma_scale * static_cast<double>(n);
    const at::Tensor x = at::arange(n, at::kFloat) - static_cast<double>(n - 1) / 2.0;
    std::vector<int64_t> shape = {1, 1, 1};
    shape[axis] = n;
    weight.mul_((x.square() / (-2.0 * sigma * sigma)).exp().view(shape));
  }
  const double smallest = weight.min().item<double>();
  return weight.clamp_min_(std::max(smallest, kWeightMin));
}

at::Tensor SlidingWindow(const at::Tensor& volume, const SlidingWindowOptions& options,
                         at::Device device,
                         const std::function<at::Tensor(const at::Tensor&)>& network,
                         const std::function<void(double)>& progress) {
  CheckOptions(options);
  at::NoGradGuard no_grad;
  SizeDhw before, padded;
  std::vector<int64_t> pad;  // last axis first
  for (int axis = 2; axis >= 0; --axis) {
    const int64_t missing =
        std::max<int64_t>(0, options.window[axis] - volume.size(1 + axis));
    before[axis] = missing / 2;
    padded[axis] = volume.size(1 + axis) + missing;
    pad.insert(pad.end(), {before[axis], missing - before[axis]});
  }
  const at::Tensor input = at::constant_pad_nd(volume, pad, 0);
  const at::Tensor weight = WindowWeight(options);
  const std::vector<SizeDhw> starts = WindowStarts(padded, options);

  at::Tensor sum;
  at::Tensor weight_sum = at::zeros(padded, at::kFloat);
  for (size_t i = 0; i < starts.size(); i += options.batch) {
    const size_t end = std::min(starts.size(), i + static_cast<size_t>(options.batch));
    std::vector<at::Tensor> windows;
    for (size_t j = i; j < end; ++j) windows.push_back(Window(input, starts[j], options.window));
    const at::Tensor output = network(at::stack(windows).to(device)).to(at::kCPU);
    if (!sum.defined()) {
      sum = at::zeros({output.size(1), padded[0], padded[1], padded[2]}, at::kFloat);
    }
    for (size_t j = i; j < end; ++j) {
      Window(sum, starts[j], options.window).addcmul_(output[static_cast<int64_t>(j - i)], weight);
      Window(weight_sum, starts[j], options.window).add_(weight);
    }
    if (progress) progress(static_cast<double>(end) / static_cast<double>(starts.size()));
  }
  sum.div_(weight_sum);
  return Window(sum, before, {volume.size(1), volume.size(2), volume.size(3)}).contiguous();
}

}  // namespace consilium::training
