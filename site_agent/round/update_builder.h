// From trained weights to the change that may leave the site (update_seal.h seals it).
#ifndef CONSILIUM_SITE_AGENT_ROUND_UPDATE_BUILDER_H_
#define CONSILIUM_SITE_AGENT_ROUND_UPDATE_BUILDER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/tensor_map.h"
#include "training/session.h"

namespace consilium::agent {

// student - base, in the base's layout. Consumes both: two models in memory at the start, one at
// the end. INVALID_ARGUMENT: names, order or shapes differ. INTERNAL: a difference is not finite
// (the training diverged).
absl::StatusOr<wire::TensorMap> UpdateDelta(std::vector<training::NamedArray> student,
                                            wire::TensorMap base);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_UPDATE_BUILDER_H_
