// What a plan's algorithm makes of a round at a site: how it trains, and what its update holds.
//
//   fedavg    plain training from the global model
//   fedprox   with the proximal term (training::TrainingConfig::proximal_mu)
//   scaffold  with control variates; the update carries the change of the site's own behind the
//             weights' change
//   local layers   stay at the site: their change in the update is zero
//   personal model trained beside, from the same cases; it never leaves the site
#ifndef CONSILIUM_SITE_AGENT_ROUND_TRAIN_METHODS_H_
#define CONSILIUM_SITE_AGENT_ROUND_TRAIN_METHODS_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "proto/wire/tensor_map.h"
#include "site_agent/round/study_state.h"
#include "site_agent/round/train_step.h"
#include "training/session.h"

namespace consilium::agent {

// INVALID_ARGUMENT: an algorithm and a privacy that do not hold together, whatever the coordinator
// let through: what SCAFFOLD's control variates or a site's noise would need is not accounted for.
absl::Status CheckMethods(const wire::Plan& plan);

// Where a round starts. Arrays are consumed.
struct RoundStart {
  std::vector<training::NamedArray> global;
  StudyArrays own;
  std::vector<training::NamedArray> server_control;  // SCAFFOLD; empty: zeros, and so is the site's
};

struct RoundEnd {
  std::vector<training::NamedArray> weights;  // all of them, local layers too
  training::RunResult result;
  StudyArrays made;                                  // to be staged
  std::vector<training::NamedArray> control_before;  // c_i, as it was used; empty: zeros
};

// Trains one round of `plan` in `session`, which SessionOptionsFor made of it: the personal model
// first, as its pull is towards the global one. `options`: as RoundOptionsFor; `observe` hears of
// the steps of both. Errors of train_step.h.
absl::StatusOr<RoundEnd> TrainByPlan(
    training::Session& session, const wire::Plan& plan, RoundStart start, const CaseSet& cases,
    training::RunOptions options, const std::function<void(const training::StepReport&)>& observe,
    const std::atomic<bool>* stop);

// The update of a round: the change from `base`, zero in local layers, scaled down to
// plan.protection.norm_max; with SCAFFOLD, c_i+ - c_i behind it, which the bound does not touch.
// Consumes both, all but end.made. Errors of UpdateDelta.
absl::StatusOr<wire::TensorMap> UpdateOf(const wire::Plan& plan, RoundEnd& end,
                                         wire::TensorMap base);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_TRAIN_METHODS_H_
