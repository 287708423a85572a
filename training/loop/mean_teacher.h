// The teacher of Mean Teacher: either the moving average of the student or a frozen network.
#ifndef CONSILIUM_TRAINING_LOOP_MEAN_TEACHER_H_
#define CONSILIUM_TRAINING_LOOP_MEAN_TEACHER_H_

#include <ATen/ATen.h>

#include "training/models/unet3d.h"

namespace consilium::training {

// Not thread-safe.
class MeanTeacher {
 public:
  enum class Kind {
    kMovingAverage,  // follows the student (Tarvainen and Valpola 2017)
    kFrozen,         // stays what it was (RSCFed, Liang et al. 2022, for sites without labels)
  };

  // Starts as a copy of `student`, which at that point is the imported global model.
  MeanTeacher(const Unet3d& student, Kind kind) : network_(student.FrozenCopy()), kind_(kind) {}

  // After the student's optimiser step: t = decay * t + (1 - decay) * s. Nothing where frozen.
  void Follow(const Unet3d& student, double decay);

  // Softmax probabilities [N, classes, D, H, W], no gradient recorded.
  at::Tensor Probabilities(const at::Tensor& input) const;

  const Unet3d& network() const { return network_; }

 private:
  Unet3d network_;
  Kind kind_;
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_MEAN_TEACHER_H_
