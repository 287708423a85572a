// Training and inference of one segmentation network, behind a header without LibTorch.
//
// With metrics/dice.h, the public header of training/, which uses nothing of the project's other
// folders: it builds alone with `cmake -S training`. Functions here throw std::exception types on
// failure; callers outside this folder turn them into a status at one seam
// (site_agent/round/train_step.cc).
//
// Axes: volumes are [C][D][H][W], W fastest, D = z, H = y, W = x of the resampled patient grid.
#ifndef CONSILIUM_TRAINING_SESSION_H_
#define CONSILIUM_TRAINING_SESSION_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace consilium::training {

using SizeDhw = std::array<int64_t, 3>;

// Shape of the network. Equal configurations give equal parameter names, order and shapes.
struct NetworkConfig {
  enum class Kind { kUnet };
  Kind kind = Kind::kUnet;
  int64_t in_channels = 1;
  int64_t classes = 2;                             // background included
  std::vector<int64_t> features = {16, 32, 64, 128};  // channels by level, finest first
  std::vector<SizeDhw> strides = {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}};  // by level
};

struct TrainingConfig {
  SizeDhw patch = {40, 56, 40};
  int64_t batch = 2;
  double learning_rate = 1e-3;         // AdamW, at the schedule's top
  double weight_decay = 1e-5;
  // The learning rate follows one polynomial decay over the whole study, so a round continues the
  // schedule where the last one ended: lr(step) = learning_rate * (1 - step/total_steps)^0.9.
  int64_t total_steps = 1000;
  double ema_decay = 0.99;             // alpha of the EMA teacher; min(1 - 1/(step+1), alpha)
  double consistency_weight = 0.1;     // top of the ramp; 0 switches Mean Teacher off
  int64_t consistency_rampup_steps = 200;
  double consistency_temperature = 1.0;  // below 1: the teacher's softmax is sharpened first
  // Factor on the learning rate at a site without labels, on top of the ramp: AdamW undoes the
  // weight of a loss that is the only one.
  double unlabelled_rate = 0.1;
  bool augment = true;
  std::array<bool, 3> mirror_dhw = {false, false, false};  // axes along which anatomy is symmetric
  double foreground_fraction = 0.5;    // of patches centred on a foreground voxel
};

// One prepared case: normalised intensities and, where the site has one, its label.
struct Case {
  SizeDhw size = {0, 0, 0};
  std::vector<float> image;    // in_channels * D * H * W
  std::vector<uint8_t> label;  // D * H * W, values < classes; empty: unlabelled
  bool labelled() const { return !label.empty(); }
};

// Where a session gets its cases. Called from one thread. Load may read from disk each time.
class CaseSource {
 public:
  virtual ~CaseSource() = default;
  virtual int64_t size() const = 0;
  virtual bool labelled(int64_t index) const = 0;
  virtual Case Load(int64_t index) = 0;
};

struct NamedArray {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

struct StepReport {
  int64_t step = 0;   // within this Run, 1-based
  int64_t steps = 0;
  double loss = 0;
  double supervised_loss = 0;
  double consistency_loss = 0;
};

struct RunOptions {
  int64_t steps = 0;       // optimiser steps of this run
  int64_t start_step = 0;  // position in the study's schedule (round index * steps per round)
  uint64_t seed = 0;       // same seed, data, thread count and machine: same weights, bit for bit
  // Indices into the source that may be used, so that a site can hold some out; empty: all.
  std::vector<int64_t> cases = {};
};

struct RunResult {
  int64_t steps_done = 0;          // fewer than asked when stopped
  double mean_loss = 0;
  double mean_supervised_loss = 0;
  double mean_consistency_loss = 0;
  // Mean over unlabelled patches; a collapse to background shows as a fraction near 0.
  double teacher_certainty = 0;            // mean of max softmax
  double pseudo_foreground_fraction = 0;   // voxels whose teacher argmax is not background
};

struct SessionOptions {
  NetworkConfig network;
  TrainingConfig training;
  int threads = 0;           // intra-op; 0: all cores (LibTorch's own default may be 1)
  std::string device;        // "", "cpu" or "cuda"; empty: cuda where there is one
  uint64_t init_seed = 0;    // of the initial weights
};

// One network with its optimiser. Not thread-safe; the thread count is LibTorch's, so two sessions
// of one process share the one set last. Creating the first session makes a caching allocator
// LibTorch's own for CPU tensors (CONSILIUM_TORCH_MALLOC=system in the environment prevents it).
// Equal seeds and inputs give equal weights and predictions on one machine. Throws
// std::invalid_argument on a configuration or array that does not fit, std::runtime_error on a
// failure of LibTorch.
class Session {
 public:
  static std::unique_ptr<Session> Create(const SessionOptions& options);
  virtual ~Session() = default;

  // Copies of the parameters, in the network's fixed order, names equal to MONAI's for the same
  // network. ImportWeights checks every name and shape and changes nothing when one is wrong.
  virtual std::vector<NamedArray> ExportWeights() const = 0;
  virtual void ImportWeights(const std::vector<NamedArray>& weights) = 0;

  // Trains from the imported weights, which the session then holds changed. The optimiser's
  // moments start fresh at each Run (a round of federated averaging replaces the weights under
  // them); the learning rate, the ramp and the teacher's decay go by start_step.
  //
  // What a case gives depends on what the usable cases are:
  //   some labelled, some not: half of a batch (rounded down, at least one) is unlabelled and gives
  //     consistency with the teacher; the rest gives Dice + cross-entropy;
  //   all labelled: the batch gives Dice + cross-entropy, and consistency too;
  //   none labelled: the batch gives consistency alone.
  // The teacher starts as the imported model. It follows the student as a moving average where the
  // site has labels and stays frozen where it has none, so that such a site cannot drift after
  // itself. consistency_weight 0: unlabelled cases are not used, and no labelled one is an error.
  //
  // `observe` is called after each step, on this thread, and may be empty; `stop` (may be null)
  // ends the run at the next step. Throws std::invalid_argument also on a case that does not fit or
  // holds NaN, std::runtime_error where loss or gradient stop being finite; the weights are then
  // those after the last good step.
  virtual RunResult Run(CaseSource& cases, const RunOptions& options,
                        const std::function<void(const StepReport&)>& observe,
                        const std::atomic<bool>* stop) = 0;

  // Class probabilities [classes][D][H][W] by Gaussian-weighted sliding window of the patch's size
  // (half overlap); a smaller volume is padded with 0.
  // `progress` gets the fraction done and may be empty. Memory: classes + 1 volumes of float.
  virtual std::vector<float> Predict(const Case& volume,
                                     const std::function<void(double)>& progress) = 0;

  virtual std::string device_name() const = 0;
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_SESSION_H_
