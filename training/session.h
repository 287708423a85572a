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
#include <optional>
#include <span>
#include <string>
#include <string_view>
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
  enum class Optimiser {
    kAdamW,  // Loshchilov and Hutter 2019; moments start fresh at each Run
    kSgd,    // w -= rate (g + weight_decay w), no momentum; decay on tensors of 2 or more axes
  };
  SizeDhw patch = {40, 56, 40};
  int64_t batch = 2;
  Optimiser optimiser = Optimiser::kAdamW;
  double learning_rate = 1e-3;         // at the schedule's top
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
  // FedProx (Li et al. 2020, arXiv 1812.06127, eq. 2): each step's gradient gets
  // mu (w - w_global), the gradient of mu/2 |w - w_global|^2, after any clipping and before the
  // optimiser; w_global is what the session holds when Run starts. 0 switches it off.
  double proximal_mu = 0;
  // FedBN (Li et al. 2021, arXiv 2102.07623): parameters that stay at the site, as patterns of
  // IsLocal; "*.norm*" is the paper's choice. They train like all others; the terms that tie a site
  // to the global model (FedProx, SCAFFOLD, the personal model's pull) leave them alone. A pattern
  // that names no parameter, and patterns that name all of them, are refused.
  std::vector<std::string> local_layers = {};
};

// Whether one of `patterns` matches all of `name`. In a pattern '*' stands for any characters or
// none; every other character for itself. Time at most |pattern| * |name|.
bool IsLocal(std::string_view name, std::span<const std::string> patterns);

// One prepared case: normalised intensities and, where the site has one, its label.
struct Case {
  SizeDhw size = {0, 0, 0};
  std::vector<float> image;    // in_channels * D * H * W
  std::vector<uint8_t> label;  // D * H * W, values < classes; empty: unlabelled
  bool labelled() const { return !label.empty(); }
};

// Where a session gets its cases. Called from one thread at a time, which need not be the session's.
// Load may read from disk each time.
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

// Control variates of SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378), in the form of
// ExportWeights; an empty list is all zeros (a first round).
struct ScaffoldControls {
  std::vector<NamedArray> server;  // c
  std::vector<NamedArray> site;    // c_i, as the site's last Run returned it
};

// DP-SGD (Abadi et al. 2016, arXiv 1607.00133) with the patient as its unit. One step:
//   each patient with a usable case is drawn by itself with probability sampling_rate;
//   each drawn patient gives one gradient g over all that it has in this step (below), and
//     contributes g min(1, clip / |g|), |g| over all parameters, in double;
//   add_noise gets the sum of the contributions, which may be zero: no draw is skipped;
//   the optimiser's gradient is that sum / expected_patients.
// Adding or removing a patient changes the sum by at most `clip` in L2 norm. What the sampling and
// the noise promise is the caller's to account; training adds none by itself.
//
// A patient's gradient: mean over augmentations_averaged micro-batches of TrainingConfig::batch
// patches of its cases, each with the loss that Run states for such a set of cases. A patient
// whose cases give no loss contributes zero. Local layers are in the contribution, as what is
// shared depends on them.
//
// Privacy. May leave the site: the weights after the run and what follows from them, the SCAFFOLD
// control included. May not, as nothing noises them: losses (a private Run reports 0 for all of
// them), how many patients a step drew, how long it took, and the text of an error. The teacher is
// made of imported and noised weights. All of this holds only where what is imported (local layers
// and controls too) is itself public or comes from private runs.
struct PrivateTraining {
  double clip = 0;               // C > 0
  double noise_multiplier = 0;   // sigma >= 0
  double expected_patients = 0;  // public divisor L > 0; never a count of the patients there are
  double sampling_rate = 0;      // q in (0, 1]
  std::vector<int64_t> patient_of_case = {};  // by index into the source; equal: the same patient
  int64_t augmentations_averaged = 1;         // 1..64
  // A public fact, not read from the cases: chooses teacher and rate as Run does for a site with
  // (true) or without labels.
  bool site_has_labels = true;
  // Contributions are rounded toward zero to multiples of this, so their sum is exact and moves by
  // at most `clip` in floating point too; the sum is held within +-2^24 grid. A power of two,
  // at most clip / (64 sqrt(parameters)); 0: no rounding, the sum is then off by float's rounding.
  // Where the noise has a grid too, this must be the same or a multiple, so that its own snapping
  // of the sum, which could widen that difference, has nothing to do.
  double grid = 0;
  // Uniform draws in [0, 1) from a secret source; one per patient and step, by ascending number of
  // the patient.
  std::function<double()> uniform = {};
  // Adds noise of standard deviation `deviation` = noise_multiplier * clip to each value, in the
  // order of ExportWeights. Called once per step.
  std::function<void(std::span<float> sum, double deviation)> add_noise = {};
  // Asked before each step, before any patient is drawn; true ends the run. May be empty.
  std::function<bool()> should_stop_before_step = {};
};

struct RunOptions {
  int64_t steps = 0;       // optimiser steps of this run
  int64_t start_step = 0;  // position in the study's schedule (round index * steps per round)
  uint64_t seed = 0;       // same seed, data, thread count and machine: same weights, bit for bit
  // Indices into the source that may be used, so that a site can hold some out; empty: all.
  std::vector<int64_t> cases = {};
  // SCAFFOLD: each step's gradient g (clipped, or noised where private) becomes g - c_i + c. The
  // method is defined for SGD: the control is a mean of gradients, which AdamW's steps are not
  // linear in. So it needs Optimiser::kSgd, and refuses proximal_mu, which has the same purpose.
  std::optional<ScaffoldControls> scaffold = {};
  std::optional<PrivateTraining> private_training = {};
};

struct RunResult {
  int64_t steps_done = 0;          // fewer than asked when stopped
  double mean_loss = 0;
  double mean_supervised_loss = 0;
  double mean_consistency_loss = 0;
  // Mean over unlabelled patches; a collapse to background shows as a fraction near 0.
  double teacher_certainty = 0;            // mean of max softmax
  double pseudo_foreground_fraction = 0;   // voxels whose teacher argmax is not background
  // Private run: every mean above is 0 because it was not noised, not because it was measured.
  bool losses_withheld = false;
  // SCAFFOLD's option II with the sum of the steps' learning rates for K eta:
  //   c_i+ = c_i - c + (x - y_i) / sum(rates),  x the weights before the run, y_i after it;
  // c_i where that sum is 0; zero in local layers. It is the mean of the steps' g, weight decay
  // included. Empty without SCAFFOLD.
  std::vector<NamedArray> scaffold_control = {};
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

  // The global model with the site's own local layers in it. `own`: the parameters of
  // TrainingConfig::local_layers, in order, as ExportLocal gave them; empty where the site has none
  // yet and starts from the global model's. Checks as ImportWeights.
  virtual void ImportGlobal(const std::vector<NamedArray>& global,
                            const std::vector<NamedArray>& own) = 0;
  virtual std::vector<NamedArray> ExportLocal() const = 0;

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

  // Ditto (Li et al. 2021, arXiv 2012.04221, algorithm 1): trains the site's personal model v as
  // Run does, with lambda (v - w_global) added to each gradient, lambda >= 0 in place of
  // proximal_mu. w_global is what the session holds, so the call comes before the round's Run; the
  // session's weights stay. `personal`: v in the form of ExportWeights, replaced by the trained one
  // when the call returns; empty: v starts as w_global. v is not noised and must not leave the
  // site, so private_training is refused here, and so is scaffold.
  virtual RunResult RunPersonal(std::vector<NamedArray>& personal, double lambda,
                                CaseSource& cases, const RunOptions& options,
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
