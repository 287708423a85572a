// Prediction of a whole volume from overlapping windows, with MONAI's conventions.
//
// Windows lie every int(window * (1 - overlap)) voxels; the last on an axis is moved back to end at
// the edge. A volume smaller than the window is padded with 0 on both sides. Overlapping outputs
// are averaged with weight 1 or a Gaussian of sigma = 0.125 * window about the centre, (n - 1) / 2,
// never below 1e-3 (Isensee et al. 2021).
#ifndef CONSILIUM_TRAINING_INFER_SLIDING_WINDOW_H_
#define CONSILIUM_TRAINING_INFER_SLIDING_WINDOW_H_

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "training/session.h"

namespace consilium::training {

struct SlidingWindowOptions {
  SizeDhw window = {64, 64, 64};
  double overlap = 0.5;  // 0 <= overlap < 1
  enum class Weight { kGaussian, kConstant } weight = Weight::kGaussian;
  double sigma_scale = 0.125;
  int64_t batch = 2;  // windows per call of the network
};

// First voxels of the windows over a volume of `size` (already padded to at least the window).
std::vector<SizeDhw> WindowStarts(const SizeDhw& size, const SlidingWindowOptions& options);

// Weight of each voxel of a window, [D, H, W].
at::Tensor WindowWeight(const SlidingWindowOptions& options);

// `network` maps [N, C, window] to [N, K, window]. `volume` [C, D, H, W] on the CPU; the result
// [K, D, H, W] on the CPU. `progress`, where set, is called after each batch with the fraction
// done, 1 at the end. Memory: (K + 1) volumes of float. Throws std::invalid_argument on options
// out of range.
at::Tensor SlidingWindow(const at::Tensor& volume, const SlidingWindowOptions& options,
                         at::Device device,
                         const std::function<at::Tensor(const at::Tensor&)>& network,
                         const std::function<void(double)>& progress = nullptr);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_INFER_SLIDING_WINDOW_H_
