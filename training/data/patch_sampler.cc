#include "training/data/patch_sampler.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace consilium::training {
namespace {

int64_t Voxels(const SizeDhw& size) { return size[0] * size[1] * size[2]; }

// Copies the overlap of one [D][H][W] array with the box; the rest of `to` stays as it is.
template <typename T>
void CopyOverlap(const T* from, const SizeDhw& from_size, const SizeDhw& first, T* to,
                 const SizeDhw& to_size) {
  SizeDhw low, high;  // in box coordinates
  for (int axis = 0; axis < 3; ++axis) {
    low[axis] = std::max<int64_t>(0, -first[axis]);
    high[axis] = std::min(to_size[axis], from_size[axis] - first[axis]);
    if (low[axis] >= high[axis]) return;
  }
  for (int64_t d = low[0]; d < high[0]; ++d) {
    for (int64_t h = low[1]; h < high[1]; ++h) {
      const int64_t row = ((d + first[0]) * from_size[1] + h + first[1]) * from_size[2];
      std::copy_n(from + row + low[2] + first[2], high[2] - low[2],
                  to + (d * to_size[1] + h) * to_size[2] + low[2]);
    }
  }
}

}  // namespace

Patch Crop(const Case& volume, int64_t channels, const SizeDhw& first, const SizeDhw& size) {
  Patch patch;
  patch.size = size;
  patch.image.assign(channels * Voxels(size), 0.0f);
  for (int64_t c = 0; c < channels; ++c) {
    CopyOverlap(volume.image.data() + c * Voxels(volume.size), volume.size, first,
                patch.image.data() + c * Voxels(size), size);
  }
  if (volume.labelled()) {
    patch.label.assign(Voxels(size), 0);
    CopyOverlap(volume.label.data(), volume.size, first, patch.label.data(), size);
  }
  return patch;
}

void CheckCase(const Case& volume, int64_t channels, int64_t classes) {
  for (int64_t n : volume.size) {
    // 4096 per axis also keeps the product far from overflow.
    if (n < 1 || n > 4096) {
      throw std::invalid_argument("case: axis of " + std::to_string(n) + " voxels, not 1..4096");
    }
  }
  const int64_t voxels = Voxels(volume.size);
  if (static_cast<int64_t>(volume.image.size()) != channels * voxels) {
    throw std::invalid_argument("case: " + std::to_string(volume.image.size()) +
                                " intensities, must be " + std::to_string(channels * voxels));
  }
  if (!std::all_of(volume.image.begin(), volume.image.end(),
                   [](float v) { return std::isfinite(v); })) {
    throw std::invalid_argument("case: an intensity is not finite");
  }
  if (!volume.labelled()) return;
  if (static_cast<int64_t>(volume.label.size()) != voxels) {
    throw std::invalid_argument("case: " + std::to_string(volume.label.size()) +
                                " label voxels, must be " + std::to_string(voxels));
  }
  const uint8_t highest = *std::max_element(volume.label.begin(), volume.label.end());
  if (highest >= classes) {
    throw std::invalid_argument("case: label " + std::to_string(highest) + " of " +
                                std::to_string(classes) + " classes");
  }
}

PatchSampler::PatchSampler(CaseSource& source, const PatchSamplerOptions& options, uint64_t seed)
    : source_(source), options_(options), random_(seed) {
  std::vector<int64_t> cases = options.cases;
  if (cases.empty()) {
    for (int64_t i = 0; i < source.size(); ++i) cases.push_back(i);
  }
  if (cases.empty()) throw std::invalid_argument("no cases to train on");
  for (int64_t index : cases) {
    if (index < 0 || index >= source.size()) {
      throw std::invalid_argument("case " + std::to_string(index) + " of " +
                                  std::to_string(source.size()));
    }
    (source.labelled(index) ? labelled_ : unlabelled_).cases.push_back(index);
  }
  Shuffle(labelled_.cases);
  Shuffle(unlabelled_.cases);
}

Patch PatchSampler::NextLabelled() {
  const Case volume = source_.Load(NextCase(labelled_));
  CheckCase(volume, options_.channels, options_.classes);
  if (!volume.labelled()) throw std::invalid_argument("case: its label is missing");
  return Cut(volume);
}

Patch PatchSampler::NextUnlabelled() {
  const Case volume = source_.Load(NextCase(unlabelled_));
  CheckCase(volume, options_.channels, options_.classes);
  return Cut(volume);
}

int64_t PatchSampler::NextCase(Stream& stream) {
  if (stream.cases.empty()) throw std::logic_error("patch stream without cases");
  if (stream.next == stream.cases.size()) {
    Shuffle(stream.cases);
    stream.next = 0;
  }
  return stream.cases[stream.next++];
}

// First voxel of the patch. Clamped so that it stays inside a larger volume, and contains all of a
// smaller one.
SizeDhw PatchSampler::ChooseFirst(const Case& volume) {
  const double draw = std::generate_canonical<double, 53>(random_);
  SizeDhw low, high;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t slack = volume.size[axis] - options_.patch[axis];
    low[axis] = std::min<int64_t>(0, slack);
    high[axis] = std::max<int64_t>(0, slack);
  }
  std::vector<int64_t> counts(256, 0);
  const bool want_foreground = volume.labelled() && draw < options_.foreground_fraction;
  if (want_foreground) {
    for (uint8_t value : volume.label) ++counts[value];
  }
  std::vector<uint8_t> present;
  for (int64_t c = 1; c < options_.classes; ++c) {
    if (counts[c] > 0) present.push_back(static_cast<uint8_t>(c));
  }
  if (present.empty()) {
    return {Uniform(low[0], high[0]), Uniform(low[1], high[1]), Uniform(low[2], high[2])};
  }
  const uint8_t chosen = present[Uniform(0, static_cast<int64_t>(present.size()) - 1)];
  int64_t rank = Uniform(0, counts[chosen] - 1);
  int64_t index = 0;
  while (volume.label[index] != chosen || rank-- > 0) ++index;
  const int64_t w = volume.size[2], h = volume.size[1];
  const SizeDhw centre = {index / (w * h), index / w % h, index % w};
  SizeDhw first;
  for (int axis = 0; axis < 3; ++axis) {
    // Where the volume is smaller than the patch, centring would fix its place; draw that instead.
    first[axis] = low[axis] < 0
                      ? Uniform(low[axis], high[axis])
                      : std::clamp(centre[axis] - options_.patch[axis] / 2, low[axis], high[axis]);
  }
  return first;
}

Patch PatchSampler::Cut(const Case& volume) {
  SizeDhw first = ChooseFirst(volume);
  for (int axis = 0; axis < 3; ++axis) {
    first[axis] -= (options_.crop[axis] - options_.patch[axis]) / 2;
  }
  return Crop(volume, options_.channels, first, options_.crop);
}

int64_t PatchSampler::Uniform(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random_);
}

void PatchSampler::Shuffle(std::vector<int64_t>& cases) {
  std::shuffle(cases.begin(), cases.end(), random_);
}

}  // namespace consilium::training
