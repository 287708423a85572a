#include "site_agent/round/train_methods.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "site_agent/round/masking/masked_update.h"
#include "site_agent/round/update_builder.h"
#include "site_agent/round/update_seal.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

using Arrays = std::vector<training::NamedArray>;

void ZeroLocal(const std::vector<std::string>& patterns, wire::TensorMap& update) {
  if (patterns.empty()) return;
  auto next = update.values.begin();
  for (const wire::TensorSpec& tensor : update.layout.tensors) {
    const auto end = next + static_cast<ptrdiff_t>(tensor.elements());
    if (training::IsLocal(tensor.name, patterns)) std::fill(next, end, 0.0f);
    next = end;
  }
}

// `update` holds the model's tensors; `after` is in their order.
absl::Status AppendControl(const Arrays& after, Arrays before, wire::TensorMap& update) {
  if (LayoutOf(after) != update.layout || (!before.empty() && LayoutOf(before) != update.layout)) {
    return absl::InvalidArgumentError("the control variate does not have the model's layout");
  }
  wire::TensorMap base;
  base.layout = update.layout;
  if (before.empty()) {
    base.values.assign(update.values.size(), 0.0f);
  } else {
    CSL_ASSIGN_OR_RETURN(base, TensorMapFromArrays(std::move(before)));
  }
  CSL_ASSIGN_OR_RETURN(const wire::TensorMap change, UpdateDelta(after, std::move(base)));
  for (const wire::TensorSpec& tensor : change.layout.tensors) {
    update.layout.tensors.push_back({absl::StrCat(kControlPrefix, tensor.name), tensor.shape});
  }
  update.values.insert(update.values.end(), change.values.begin(), change.values.end());
  return absl::OkStatus();
}

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the plan cannot be worked on: ", what));
}

}  // namespace

absl::Status CheckMethods(const wire::Plan& plan) {
  const bool site_level = plan.privacy.level == "site";
  if (plan.algorithm.kind == "scaffold" && plan.privacy.level != "none") {
    return Refuse("SCAFFOLD's control variates would leave the site without noise");
  }
  const wire::PlanProtection& protection = plan.protection;
  if (site_level &&
      (protection.kind != "secure-aggregation" || protection.bits != 32 || protection.group != 0)) {
    return Refuse("a site's share of noise protects nobody but in one masked sum of 32-bit words");
  }
  if (site_level && !(plan.privacy.noise_multiplier > 0)) {
    return Refuse("it has no noise multiplier for privacy level site");
  }
  return absl::OkStatus();
}

absl::StatusOr<RoundEnd> TrainByPlan(
    training::Session& session, const wire::Plan& plan, RoundStart start, const CaseSet& cases,
    training::RunOptions options, const std::function<void(const training::StepReport&)>& observe,
    const std::atomic<bool>* stop) {
  RoundEnd end;
  if (plan.algorithm.local_layers.empty()) {
    CSL_RETURN_IF_ERROR(ImportWeights(session, std::move(start.global)));
  } else {
    CSL_RETURN_IF_ERROR(ImportGlobal(session, std::move(start.global), start.own.local));
  }
  if (plan.algorithm.personal_lambda > 0) {
    training::RunOptions plain = options;
    plain.private_training.reset();
    end.made.personal = std::move(start.own.personal);
    CSL_RETURN_IF_ERROR(RunPersonalSteps(session, end.made.personal, plan.algorithm.personal_lambda,
                                         cases, plain, observe, stop)
                            .status());
  }
  if (plan.algorithm.kind == "scaffold") {
    if (!start.server_control.empty()) end.control_before = std::move(start.own.control);
    options.scaffold =
        training::ScaffoldControls{std::move(start.server_control), end.control_before};
  }
  CSL_ASSIGN_OR_RETURN(end.result, RunSteps(session, cases, options, observe, stop));
  end.made.control = std::move(end.result.scaffold_control);
  CSL_ASSIGN_OR_RETURN(end.weights, ExportWeights(session));
  if (!plan.algorithm.local_layers.empty()) {
    CSL_ASSIGN_OR_RETURN(end.made.local, ExportLocal(session));
  }
  return end;
}

absl::StatusOr<wire::TensorMap> UpdateOf(const wire::Plan& plan, RoundEnd& end,
                                         wire::TensorMap base) {
  CSL_ASSIGN_OR_RETURN(wire::TensorMap update,
                       UpdateDelta(std::move(end.weights), std::move(base)));
  ZeroLocal(plan.algorithm.local_layers, update);
  BoundNorm(update, plan.protection.norm_max);
  if (plan.algorithm.kind == "scaffold") {
    CSL_RETURN_IF_ERROR(AppendControl(end.made.control, std::move(end.control_before), update));
  }
  return update;
}

}  // namespace consilium::agent
