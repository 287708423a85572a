// What the terms of a study promise and cost, in words for an administrator: `study create` and
// `study show` print them, and docs/study.md explains them. Pure functions.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_PROMISE_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_PROMISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/round/study.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {

struct StudyPromise {
  std::vector<std::string> promises;  // "protection: ...", each a line without a line break
  std::vector<std::string> warnings;  // what works, but may not be what was meant
};

// `fixed`: the plan once the sites' data have decided it; null before. What depends on the steps of
// a round is then said of the study file's, if it has them. Up to tenths of a second with a privacy
// level, whose epsilon is accounted for.
StudyPromise PromiseOf(const StudySpec& spec, const wire::Plan* fixed);

// Weights of the plan's network; training/models/unet3d.cc counts the same. They do not depend on
// what the sites' data decide, except for the strides. `plan` passes CheckPlan.
int64_t ParameterCount(const wire::Plan& plan);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_PROMISE_H_
