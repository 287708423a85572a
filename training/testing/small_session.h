// Sessions small and plain enough that one step's gradient is known: the volume is the patch, and
// nothing is drawn. For tests. Std only.
#ifndef CONSILIUM_TRAINING_TESTING_SMALL_SESSION_H_
#define CONSILIUM_TRAINING_TESTING_SMALL_SESSION_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "training/session.h"
#include "training/testing/phantom.h"

namespace consilium::training {

inline constexpr SizeDhw kSmallSize = {8, 8, 8};

// Plain SGD, one patch a batch, no augmentation, no teacher.
inline SessionOptions SmallOptions() {
  SessionOptions options;
  options.network.features = {4, 8};
  options.network.strides = {{1, 1, 1}, {2, 2, 2}};
  options.training.patch = kSmallSize;
  options.training.batch = 1;
  options.training.optimiser = TrainingConfig::Optimiser::kSgd;
  options.training.learning_rate = 0.1;
  options.training.weight_decay = 0;
  options.training.total_steps = 10;
  options.training.consistency_weight = 0;
  options.training.augment = false;
  options.threads = 1;
  options.device = "cpu";
  return options;
}

inline double SmallRate(const TrainingConfig& config, int64_t step) {
  const double done = static_cast<double>(step) / static_cast<double>(config.total_steps);
  return config.learning_rate * std::pow(1.0 - done, 0.9);
}

inline std::vector<double> FlatOf(const std::vector<NamedArray>& arrays) {
  std::vector<double> flat;
  for (const NamedArray& array : arrays) {
    flat.insert(flat.end(), array.values.begin(), array.values.end());
  }
  return flat;
}

// a + factor * b.
inline std::vector<double> Sum(std::vector<double> a, const std::vector<double>& b,
                               double factor = 1.0) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += factor * b.at(i);
  return a;
}

inline double Norm(const std::vector<double>& values) {
  double squares = 0;
  for (double v : values) squares += v * v;
  return std::sqrt(squares);
}

inline double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0.0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

// Arrays like `shape_of`, all values from a fixed sequence in [-scale, scale).
inline std::vector<NamedArray> Scrambled(std::vector<NamedArray> shape_of, uint64_t seed,
                                         float scale) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> value(-scale, scale);
  for (NamedArray& array : shape_of) {
    for (float& v : array.values) v = value(random);
  }
  return shape_of;
}

// The weights after `run` on `cases`, from `from` on.
inline std::vector<NamedArray> TrainedFrom(const SessionOptions& options,
                                           const std::vector<NamedArray>& from, CaseSource& cases,
                                           const RunOptions& run, RunResult* result = nullptr) {
  auto session = Session::Create(options);
  session->ImportWeights(from);
  const RunResult done = session->Run(cases, run, nullptr, nullptr);
  if (result != nullptr) *result = done;
  return session->ExportWeights();
}

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_TESTING_SMALL_SESSION_H_
