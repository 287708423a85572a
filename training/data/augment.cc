#include "training/data/augment.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

namespace consilium::training {
namespace {

using Matrix = std::array<std::array<double, 3>, 3>;  // rows and columns x, y, z

Matrix Times(const Matrix& a, const Matrix& b) {
  Matrix c{};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 3; ++k) c[i][j] += a[i][k] * b[k][j];
    }
  }
  return c;
}

// Rotation in the plane of axes i and j.
Matrix Rotation(int i, int j, double angle) {
  Matrix m{};
  for (int k = 0; k < 3; ++k) m[k][k] = 1;
  m[i][i] = m[j][j] = std::cos(angle);
  m[i][j] = -std::sin(angle);
  m[j][i] = std::sin(angle);
  return m;
}

// grid_sample's theta [1, 3, 4]: from output to input, both in [-1, 1] over their own extent, so
// a matrix in voxels is scaled by the output's half size and divided by the input's.
at::Tensor Theta(const Matrix& m, const SizeDhw& out, at::IntArrayRef in_dhw) {
  at::Tensor theta = at::zeros({1, 3, 4}, at::kFloat);
  auto values = theta.accessor<float, 3>();
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      const double from = static_cast<double>(out[2 - j]);
      const double to = static_cast<double>(in_dhw[2 - i]);
      values[0][i][j] = static_cast<float>(m[i][j] * from / to);
    }
  }
  return theta;
}

enum Interpolation : int64_t { kLinear = 0, kNearest = 1 };  // grid_sampler's numbers
constexpr int64_t kZeroPadding = 0;

}  // namespace

SizeDhw CropForAugment(const SizeDhw& patch, const AugmentOptions& options) {
  // A quarter more reaches what shrinking shows; corners turned in from further out are 0.
  const double grow = std::max(1.25, 1.0 / options.scale_min);
  SizeDhw crop;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t extra = std::llround(static_cast<double>(patch[axis]) * (grow - 1.0) / 2.0);
    crop[axis] = patch[axis] + 2 * extra;  // even, so that the centres agree
  }
  return crop;
}

at::Tensor CentreCrop(const at::Tensor& volume, const SizeDhw& size) {
  at::Tensor view = volume;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t dim = volume.dim() - 3 + axis;
    view = view.narrow(dim, (volume.size(dim) - size[axis]) / 2, size[axis]);
  }
  return view.contiguous();
}

Augmenter::Augmenter(const AugmentOptions& options, uint64_t seed)
    : options_(options), random_(seed), noise_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}

bool Augmenter::Chance(double probability) { return Between(0.0, 1.0) < probability; }

double Augmenter::Between(double low, double high) {
  return low + (high - low) * std::generate_canonical<double, 53>(random_);
}

Augmenter::Sample Augmenter::Spatial(const Sample& input, const SizeDhw& size) {
  Sample output;
  if (Chance(options_.affine_probability)) {
    const double limit = options_.rotation_max_rad;
    Matrix m = Rotation(0, 1, Between(-limit, limit));
    m = Times(m, Rotation(0, 2, Between(-limit, limit)));
    m = Times(m, Rotation(1, 2, Between(-limit, limit)));
    const double scale = Between(options_.scale_min, options_.scale_max);
    for (int axis = 0; axis < 3; ++axis) {
      const double by = 1.0 / (scale * Between(0.95, 1.05));  // the matrix looks up, so inverse
      for (int row = 0; row < 3; ++row) m[row][axis] *= by;
    }
    const at::Tensor image = input.image.unsqueeze(0);
    const at::Tensor theta = Theta(m, size, input.image.sizes().slice(1)).to(image.device());
    const at::Tensor grid = at::affine_grid_generator(
        theta, {1, image.size(1), size[0], size[1], size[2]}, /*align_corners=*/false);
    output.image =
        at::grid_sampler(image, grid, kLinear, kZeroPadding, /*align_corners=*/false).squeeze(0);
    if (input.label.defined()) {
      const at::Tensor label = input.label.to(at::kFloat).unsqueeze(0).unsqueeze(0);
      output.label = at::grid_sampler(label, grid, kNearest, kZeroPadding, false)
                         .squeeze(0).squeeze(0).to(at::kLong);
    }
  } else {
    output.image = CentreCrop(input.image, size);
    if (input.label.defined()) output.label = CentreCrop(input.label, size);
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (!options_.mirror_dhw[axis] || !Chance(0.5)) continue;
    output.image = output.image.flip({1 + axis});
    if (output.label.defined()) output.label = output.label.flip({axis});
  }
  return output;
}

at::Tensor Augmenter::Intensity(const at::Tensor& images) {
  std::vector<at::Tensor> changed;
  for (int64_t n = 0; n < images.size(0); ++n) {
    std::vector<at::Tensor> channels;
    for (int64_t c = 0; c < images.size(1); ++c) {
      channels.push_back(IntensityOne(images[n].narrow(0, c, 1).clone()));
    }
    changed.push_back(at::cat(channels));
  }
  return at::stack(changed);
}

at::Tensor Augmenter::Noise(const at::Tensor& images, double sigma) {
  const at::Tensor noise = at::randn(images.sizes(), noise_, at::TensorOptions(at::kFloat));
  return images + noise.to(images.device()).mul_(sigma);
}

at::Tensor Augmenter::IntensityOne(at::Tensor image) {
  const double p = options_.intensity_probability;
  const double limit = options_.brightness_max;
  if (Chance(p)) {  // smooth gain, as a receive coil leaves: exp of a random quadratic
    at::Tensor log_gain = at::zeros({1}, image.options());
    for (int64_t axis = 1; axis <= 3; ++axis) {
      const double a = Between(-1, 1), b = Between(-1, 1);
      std::vector<int64_t> shape = {1, 1, 1, 1};
      shape[axis] = image.size(axis);
      const at::Tensor t = at::linspace(-1, 1, image.size(axis), image.options()).view(shape);
      log_gain = log_gain + (t * a + (t.square() - 0.33) * b) * (options_.bias_field_max / 3);
    }
    // A gain acts on intensities that start at 0; z-scored ones are shifted there and back.
    const at::Tensor low = image.amin();
    image = (image - low) * log_gain.exp() + low;
  }
  if (Chance(p)) {
    const at::Tensor low = image.amin(), range = image.amax() - low;
    const double gamma = Between(options_.gamma_min, options_.gamma_max);
    const at::Tensor mean = image.mean(), deviation = image.std(/*unbiased=*/false);
    image = ((image - low) / (range + 1e-7)).pow(gamma);
    image = (image - image.mean()) / (image.std(/*unbiased=*/false) + 1e-7) * deviation + mean;
  }
  if (Chance(p)) image = image * Between(1.0 - limit, 1.0 + limit);
  if (Chance(p)) {  // contrast: about the mean
    const at::Tensor mean = image.mean();
    image = (image - mean) * Between(1.0 - limit, 1.0 + limit) + mean;
  }
  if (Chance(p)) image = image + Between(-limit, limit);
  if (Chance(p)) image = Noise(image, Between(0.0, options_.noise_sigma_max));
  return image;
}

}  // namespace consilium::training
