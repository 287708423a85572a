#include "training/loop/step_loss.h"

#include "training/loss/consistency.h"
#include "training/loss/dice_ce.h"

namespace consilium::training {

StepLoss NextLoss(BatchSource& source, const Unet3d& student, const MeanTeacher& teacher,
                  const TrainingConfig& config, double ramp) {
  const Batch batch = source.Next();
  const BatchShape& shape = source.shape();
  const at::Tensor logits = student.Forward(source.StudentView(batch.images));
  StepLoss loss;
  loss.total = at::zeros({}, logits.options());
  if (shape.labelled > 0) {
    loss.supervised = DiceCeLoss(logits.narrow(0, 0, shape.labelled), batch.labels,
                                 {.include_background = false, .batch = true});
    loss.total = loss.total + loss.supervised;
  }
  if (config.consistency_weight > 0) {
    // Unlabelled patches where there are some: on labelled ones the labels say more.
    const int64_t from = shape.unlabelled > 0 ? shape.labelled : 0;
    const int64_t count = batch.images.size(0) - from;
    const at::Tensor probabilities = teacher.Probabilities(batch.images.narrow(0, from, count));
    if (shape.unlabelled > 0) loss.unlabelled_probabilities = probabilities;
    loss.consistency = ConsistencyLoss(logits.narrow(0, from, count),
                                       Sharpen(probabilities, config.consistency_temperature));
    loss.total = loss.total + loss.consistency * (config.consistency_weight * ramp);
  }
  return loss;
}

}  // namespace consilium::training
