// The loss of one batch: Dice + cross-entropy on its labelled patches, consistency with the
// teacher.
#ifndef CONSILIUM_TRAINING_LOOP_STEP_LOSS_H_
#define CONSILIUM_TRAINING_LOOP_STEP_LOSS_H_

#include <ATen/ATen.h>

#include "training/loop/batch_source.h"
#include "training/loop/mean_teacher.h"
#include "training/models/unet3d.h"
#include "training/session.h"

namespace consilium::training {

// Scalars, undefined where the batch has no such term; `total` is always defined and can be
// differentiated.
struct StepLoss {
  at::Tensor total;  // supervised + ramp * consistency_weight * consistency
  at::Tensor supervised;
  at::Tensor consistency;
  at::Tensor unlabelled_probabilities;  // the teacher's, of unlabelled patches; not sharpened
};

// Takes the next batch of `source`. `ramp`: factor on the consistency term's weight.
StepLoss NextLoss(BatchSource& source, const Unet3d& student, const MeanTeacher& teacher,
                  const TrainingConfig& config, double ramp);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_STEP_LOSS_H_
