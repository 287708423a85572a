// Learning-rate schedule of a study. Pure functions, std only.
#ifndef CONSILIUM_TRAINING_LOOP_SCHEDULE_H_
#define CONSILIUM_TRAINING_LOOP_SCHEDULE_H_

#include <cstdint>

namespace consilium::training {

// top * (1 - step / total_steps)^0.9 (Chen et al. 2018, nnU-Net), 0 from total_steps on.
double PolynomialRate(double top, int64_t step, int64_t total_steps);

// min(1 - 1 / (step + 1), alpha): early on the teacher is the plain mean of the students so far.
double EmaDecay(int64_t step, double alpha);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_SCHEDULE_H_
