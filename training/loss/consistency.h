// Consistency loss of Mean Teacher (Tarvainen and Valpola 2017) and its ramp-up.
#ifndef CONSILIUM_TRAINING_LOSS_CONSISTENCY_H_
#define CONSILIUM_TRAINING_LOSS_CONSISTENCY_H_

#include <ATen/ATen.h>

#include <cstdint>

namespace consilium::training {

// Mean squared difference of the student's softmax and the teacher's probabilities, over all
// voxels and classes. Both [N, C, ...]; the gradient goes to the student alone.
at::Tensor ConsistencyLoss(const at::Tensor& student_logits,
                           const at::Tensor& teacher_probabilities);

// exp(-5 (1 - t)^2), t = step / rampup_steps clamped to [0, 1] (Laine and Aila 2017);
// 1 where rampup_steps <= 0.
double ConsistencyRamp(int64_t step, int64_t rampup_steps);

// Probabilities raised to 1/temperature and renormalised over the classes: 1 leaves them, less
// makes them bolder (MixMatch, Berthelot et al. 2019).
at::Tensor Sharpen(const at::Tensor& probabilities, double temperature);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOSS_CONSISTENCY_H_
