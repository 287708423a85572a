// Random changes to patches, on whatever device they are.
//
// Spatial changes move image and label together and are shared by student and teacher, so their
// outputs can be compared voxel by voxel; intensity changes are for the student alone.
// Ranges follow nnU-Net (Isensee et al. 2021), narrowed: no elastic warp, no blur.
#ifndef CONSILIUM_TRAINING_DATA_AUGMENT_H_
#define CONSILIUM_TRAINING_DATA_AUGMENT_H_

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <random>

#include "training/session.h"

namespace consilium::training {

struct AugmentOptions {
  double affine_probability = 0.5;
  double rotation_max_rad = 0.26;  // about each axis, +-15 degrees
  double scale_min = 0.85;         // object size; one factor per patch and a little per axis
  double scale_max = 1.18;
  std::array<bool, 3> mirror_dhw = {false, false, false};  // each with probability 1/2
  double intensity_probability = 0.3;                      // of each change below, by itself
  double noise_sigma_max = 0.15;    // in units of the image's standard deviation
  double brightness_max = 0.25;     // additive shift and multiplicative factor 1 +- this
  double gamma_min = 0.7;
  double gamma_max = 1.5;
  double bias_field_max = 0.3;      // log-gain at the patch's corners, smooth
};

// How far beyond the patch a crop must reach so that rotation and shrinking find voxels there.
SizeDhw CropForAugment(const SizeDhw& patch, const AugmentOptions& options);

// Draws are made on the CPU in a fixed order, so equal seeds give equal patches on one machine.
// Not thread-safe.
class Augmenter {
 public:
  Augmenter(const AugmentOptions& options, uint64_t seed);

  struct Sample {
    at::Tensor image;  // [C, D, H, W] float
    at::Tensor label;  // [D, H, W] int64, undefined where there is none
  };
  // Resamples (trilinear; labels nearest) about the centre to `size`. Outside the input is 0.
  Sample Spatial(const Sample& input, const SizeDhw& size);

  // A changed copy of [N, C, D, H, W], each channel of each sample drawn by itself: they are of
  // other modalities and units.
  at::Tensor Intensity(const at::Tensor& images);

  // Adds Gaussian noise of `sigma` to a copy.
  at::Tensor Noise(const at::Tensor& images, double sigma);

 private:
  at::Tensor IntensityOne(at::Tensor image);  // [1, D, H, W]
  bool Chance(double probability);
  double Between(double low, double high);

  AugmentOptions options_;
  std::mt19937_64 random_;
  at::Generator noise_;
};

// The centre `size` voxels of the trailing three axes.
at::Tensor CentreCrop(const at::Tensor& volume, const SizeDhw& size);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_DATA_AUGMENT_H_
