// From a plan to what the training library takes. The one place where xyz becomes dhw.
#ifndef CONSILIUM_SITE_AGENT_PLAN_CONFIG_H_
#define CONSILIUM_SITE_AGENT_PLAN_CONFIG_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "proto/wire/plan.h"
#include "site_agent/agent_options.h"
#include "training/session.h"

namespace consilium::agent {

// x is the fastest axis of a volume, W of a tensor: the order turns round.
template <typename T>
std::array<T, 3> DhwFromXyz(const std::array<T, 3>& xyz) {
  return {xyz[2], xyz[1], xyz[0]};
}

// Network, losses, schedule and algorithm of the plan; `compute` adds where it runs. SCAFFOLD trains
// by plain SGD at the plan's learning rate, as its control variates are means of gradients. The plan
// must have passed CheckPlan.
training::SessionOptions SessionOptionsFor(const wire::Plan& plan, const ComputeOptions& compute);

// One round's training at one site. `round` is 1-based. The seed depends on the plan's seed, round
// and site, so that sites draw different patches, a repeat draws the same, and so do two studies that
// are to be compared.
training::RunOptions RoundOptionsFor(const wire::Plan& plan, int64_t round,
                                     absl::string_view site);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_PLAN_CONFIG_H_
