// The gradient of one step of patient-level DP-SGD (Abadi et al. 2016, arXiv 1607.00133).
//
// One patient after the other: a micro-batch forward and backward, clip, add. So the memory of a
// step is that of a plain one plus a sum in double and a flat copy of it, however many patients
// are drawn; the time grows with their number. Measured on the CPU with LibTorch 1.13, by patch:
// 1.05 times a plain step with two patches a patient, 1.6 times with one, as convolutions of a
// batch of one take LibTorch's slow path.
#ifndef CONSILIUM_TRAINING_LOOP_PRIVATE_STEP_H_
#define CONSILIUM_TRAINING_LOOP_PRIVATE_STEP_H_

#include <ATen/ATen.h>

#include <vector>

#include "training/loop/mean_teacher.h"
#include "training/models/unet3d.h"
#include "training/session.h"

namespace consilium::training {

// Sum of per-patient gradients, each held to a norm of `clip`. Not thread-safe.
class ClippedSum {
 public:
  // `grid` as PrivateTraining::grid. Starts at zero, in the shapes of `parameters`.
  ClippedSum(const std::vector<at::Tensor>& parameters, double clip, double grid);

  // Adds one patient's gradient; undefined tensors count as zero. Throws std::runtime_error and
  // adds nothing where its norm is not finite.
  void Add(const std::vector<at::Tensor>& gradients);

  // All values in the order of the parameters, on the CPU.
  std::vector<float> Flat() const;

 private:
  const double clip_;
  const double grid_;
  std::vector<at::Tensor> sum_;  // double
};

// Not thread-safe. Borrows everything given, for its whole life.
class PrivateStep {
 public:
  // Throws std::invalid_argument where options.private_training (which must be set) makes no
  // sense, a case has no patient, or no case can give a loss.
  PrivateStep(const Unet3d& student, const NetworkConfig& network, const TrainingConfig& config,
              at::Device device, CaseSource& cases, const RunOptions& options);

  // Draws the patients of step `done` (0-based) of the run and returns the noised sum of their
  // contributions over expected_patients. Throws std::runtime_error where a patient's gradient or
  // what add_noise left is not finite, or `uniform` leaves its range.
  std::vector<at::Tensor> Gradients(const MeanTeacher& teacher, double ramp, int64_t done);

 private:
  struct Patient {
    int64_t number = 0;
    std::vector<int64_t> cases;
    bool has_loss = false;  // labelled, or consistency is on
  };

  bool Drawn() const;
  void AddContribution(const Patient& patient, const MeanTeacher& teacher, double ramp,
                       uint64_t step_seed, ClippedSum& sum);

  const Unet3d& student_;
  const NetworkConfig& network_;
  const TrainingConfig& config_;
  const at::Device device_;
  CaseSource& cases_;
  const RunOptions& options_;
  const PrivateTraining& rules_;
  std::vector<at::Tensor> parameters_;
  std::vector<Patient> patients_;  // by ascending number
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_PRIVATE_STEP_H_
