// The task of attack_sim: handwritten digits of 8x8 pixels and a small network that learns them.
// Not the product's training, which is what the attacks are not about: what counts is that the
// updates are those of real learning on real images.
#ifndef CONSILIUM_TESTS_BENCH_ATTACK_MODEL_H_
#define CONSILIUM_TESTS_BENCH_ATTACK_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/support/random.h"

namespace consilium::bench {

using phantom::Random;

inline constexpr size_t kPixels = 64;
inline constexpr size_t kClasses = 10;
inline constexpr size_t kHidden = 48;
// In this order: hidden x pixels, hidden, classes x hidden, classes.
inline constexpr size_t kModelParameters =
    kHidden * kPixels + kHidden + kClasses * kHidden + kClasses;

struct Example {
  float pixels[kPixels];  // 0..1
  int digit;
};
using Examples = std::vector<Example>;

// Lines of 64 pixels (0..16) and the digit, separated by commas. INVALID_ARGUMENT: anything else.
absl::StatusOr<Examples> ReadDigits(const std::string& path);

// Dealt out to `sites` with each digit's shares drawn from a Dirichlet distribution with all
// parameters `alpha`: the smaller, the less alike are the sites. Each gets at least `examples_min`.
std::vector<Examples> Deal(const Examples& examples, size_t sites, double alpha,
                           size_t examples_min, Random& random);

// The picture with the backdoor's trigger: a bright patch in a corner that digits leave empty.
Example WithTrigger(Example example);
inline constexpr int kBackdoorDigit = 0;  // what a model with the backdoor takes it for

std::vector<float> InitialModel(Random& random);

struct TrainOptions {
  int epochs = 2;
  size_t batch = 16;
  float learning_rate = 0.1f;
};

// What plain SGD on the mean cross-entropy of `examples` changes of `model`.
std::vector<float> TrainedDelta(const std::vector<float>& model, const Examples& examples,
                                const TrainOptions& options, Random& random);

// Shares, 0..1.
double Accuracy(const std::vector<float>& model, const Examples& test);
// Of the test's other digits with the trigger, those taken for kBackdoorDigit.
double BackdoorSuccess(const std::vector<float>& model, const Examples& test);

}  // namespace consilium::bench

#endif  // CONSILIUM_TESTS_BENCH_ATTACK_MODEL_H_
