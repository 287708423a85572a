#include "training/metrics/dice.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace consilium::training {

std::vector<double> DiceByClass(std::span<const uint8_t> prediction,
                                std::span<const uint8_t> truth, int64_t classes) {
  if (classes < 2 || classes > 256) {
    throw std::invalid_argument("Dice: classes must be in 2..256, is " + std::to_string(classes));
  }
  if (prediction.size() != truth.size()) {
    throw std::invalid_argument("Dice: maps of " + std::to_string(prediction.size()) + " and " +
                                std::to_string(truth.size()) + " voxels");
  }
  std::vector<int64_t> predicted(256), actual(256), both(256);
  for (size_t i = 0; i < truth.size(); ++i) {
    ++predicted[prediction[i]];
    ++actual[truth[i]];
    if (prediction[i] == truth[i]) ++both[truth[i]];
  }
  std::vector<double> dice;
  for (int64_t c = 1; c < 256; ++c) {
    const int64_t total = predicted[c] + actual[c];
    if (c >= classes) {
      if (total > 0) throw std::invalid_argument("Dice: label " + std::to_string(c));
      continue;
    }
    dice.push_back(total == 0 ? std::numeric_limits<double>::quiet_NaN()
                              : 2.0 * static_cast<double>(both[c]) / static_cast<double>(total));
  }
  return dice;
}

double MeanDefined(std::span<const double> values) {
  double sum = 0;
  int64_t count = 0;
  for (double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(count);
}

std::vector<uint8_t> ArgmaxByVoxel(std::span<const float> probabilities, int64_t classes) {
  if (classes < 1 || classes > 256 || probabilities.empty() ||
      probabilities.size() % static_cast<size_t>(classes) != 0) {
    throw std::invalid_argument("Argmax: " + std::to_string(probabilities.size()) +
                                " probabilities of " + std::to_string(classes) + " classes");
  }
  const size_t voxels = probabilities.size() / static_cast<size_t>(classes);
  std::vector<uint8_t> best(voxels, 0);
  std::vector<float> highest(probabilities.begin(), probabilities.begin() + voxels);
  for (size_t c = 1; c < static_cast<size_t>(classes); ++c) {
    const float* row = probabilities.data() + c * voxels;
    for (size_t i = 0; i < voxels; ++i) {
      if (row[i] > highest[i]) {
        highest[i] = row[i];
        best[i] = static_cast<uint8_t>(c);
      }
    }
  }
  return best;
}

}  // namespace consilium::training
