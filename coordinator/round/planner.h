// The plan of a study from what its sites reported: pure arithmetic, same reports, same plan.
//
// What the study file fixes is taken as it is. The rest:
//   spacing   component-wise median of the sites' medians, each site counted with its cases
//   strides   four levels unless `features` says otherwise; an axis is halved at a level only while
//             at least kBottleneckMin voxels remain, and short axes skip the finest levels
//   patch     the median size at that spacing, rounded up to the axis' total stride, at most
//             kPatchMax (rounded down to the stride)
//   steps     max(kStepsMin, ceil(local_epochs * mean trainable cases of a site / batch))
#ifndef CONSILIUM_COORDINATOR_ROUND_PLANNER_H_
#define CONSILIUM_COORDINATOR_ROUND_PLANNER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/round/study.h"
#include "coordinator/store/records.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {

inline constexpr int64_t kPatchMax = 96;
inline constexpr int64_t kPatchMin = 4;
inline constexpr int64_t kBottleneckMin = 4;
inline constexpr int64_t kStepsMin = 4;

// The plan that PREPARE tasks carry before any site reported: rules and labels are final, the
// geometry is a placeholder unless the study fixes it.
wire::Plan ProvisionalPlan(const StudySpec& spec);

// `trainers` are the reports of sites that may train. FAILED_PRECONDITION: they have no case.
// INVALID_ARGUMENT: what the study fixes does not go with what the sites have; names the key.
absl::StatusOr<wire::Plan> MakePlan(const StudySpec& spec,
                                    const std::vector<CohortRecord>& trainers);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_PLANNER_H_
