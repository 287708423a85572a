// One site's part of a round: some optimiser steps of one network on one set of cases.
#ifndef CONSILIUM_TRAINING_LOOP_TRAINER_H_
#define CONSILIUM_TRAINING_LOOP_TRAINER_H_

#include <ATen/ATen.h>

#include <atomic>
#include <functional>

#include "training/models/unet3d.h"
#include "training/session.h"

namespace consilium::training {

// Throws std::invalid_argument where the values make no sense, or the patch does not fit the
// network.
void CheckTrainingConfig(const TrainingConfig& config, const NetworkConfig& network);

// Session::Run. Trains `student` in place. `anchor`, which may be `student`: the model that the
// proximal term pulls to, as it is at the start. Throws std::invalid_argument on a case or option
// that does not fit, std::runtime_error where the loss stops being finite (the weights are then
// those after the last good step).
RunResult Train(Unet3d& student, const Unet3d& anchor, const NetworkConfig& network,
                const TrainingConfig& config, at::Device device, CaseSource& cases,
                const RunOptions& options, const std::function<void(const StepReport&)>& observe,
                const std::atomic<bool>* stop);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_TRAINER_H_
