// Synthetic cases: an ellipsoid per foreground class, brighter by class, in noise. For tests and
// benchmarks. Std only.
#ifndef CONSILIUM_TRAINING_TESTING_PHANTOM_H_
#define CONSILIUM_TRAINING_TESTING_PHANTOM_H_

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "training/session.h"

namespace consilium::training {

// One channel. Equal seeds give equal cases.
inline Case MakePhantom(const SizeDhw& size, int64_t classes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> noise(0.0f, 0.3f);
  std::uniform_real_distribution<double> place(0.3, 0.7), width(0.14, 0.24);
  Case volume;
  volume.size = size;
  volume.label.assign(size[0] * size[1] * size[2], 0);
  for (int64_t c = 1; c < classes; ++c) {
    double centre[3], radius[3];
    for (int axis = 0; axis < 3; ++axis) {
      const double n = static_cast<double>(size[axis]);
      centre[axis] = place(random) * n;
      radius[axis] = width(random) * n;
    }
    for (int64_t i = 0; i < static_cast<int64_t>(volume.label.size()); ++i) {
      const double at[3] = {static_cast<double>(i / (size[1] * size[2])),
                            static_cast<double>(i / size[2] % size[1]),
                            static_cast<double>(i % size[2])};
      double distance = 0;
      for (int axis = 0; axis < 3; ++axis) {
        const double t = (at[axis] - centre[axis]) / radius[axis];
        distance += t * t;
      }
      if (distance <= 1) volume.label[i] = static_cast<uint8_t>(c);
    }
  }
  for (uint8_t value : volume.label) volume.image.push_back(2.0f * value - 0.5f + noise(random));
  return volume;
}

class PhantomSource final : public CaseSource {
 public:
  PhantomSource(int64_t count, const SizeDhw& size, int64_t classes, uint64_t seed) {
    for (int64_t i = 0; i < count; ++i) {
      cases_.push_back(MakePhantom(size, classes, seed * 1000 + static_cast<uint64_t>(i)));
    }
  }
  void DropLabelsFrom(size_t first) {
    for (size_t i = first; i < cases_.size(); ++i) cases_[i].label.clear();
  }
  Case& at(int64_t index) { return cases_[static_cast<size_t>(index)]; }

  int64_t size() const override { return static_cast<int64_t>(cases_.size()); }
  bool labelled(int64_t index) const override { return cases_[index].labelled(); }
  Case Load(int64_t index) override { return cases_[index]; }

 private:
  std::vector<Case> cases_;
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_TESTING_PHANTOM_H_
