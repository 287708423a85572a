// Weights as training/ holds them (an array a parameter) and as they are stored and sent (one run
// of values with a layout). Converting holds both forms: two models in memory, then one.
#ifndef CONSILIUM_SITE_AGENT_WEIGHTS_H_
#define CONSILIUM_SITE_AGENT_WEIGHTS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/tensor_map.h"
#include "training/session.h"

namespace consilium::agent {

// Consumes `map`.
std::vector<training::NamedArray> ArraysFromTensorMap(wire::TensorMap&& map);

wire::TensorLayout LayoutOf(const std::vector<training::NamedArray>& arrays);

// Consumes `arrays`. INVALID_ARGUMENT: a layout that CheckLayout refuses, or an array whose values
// do not have its shape.
absl::StatusOr<wire::TensorMap> TensorMapFromArrays(std::vector<training::NamedArray>&& arrays);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_WEIGHTS_H_
