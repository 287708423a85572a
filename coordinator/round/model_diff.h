// What changed between two models, tensor by tensor. Streams both: a chunk of each and a block in
// memory, whatever their size.
#ifndef CONSILIUM_COORDINATOR_ROUND_MODEL_DIFF_H_
#define CONSILIUM_COORDINATOR_ROUND_MODEL_DIFF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/chunk_store.h"

namespace consilium::coordinator {

struct Difference {
  double l2 = 0;           // |b - a|
  double relative_l2 = 0;  // over |a|; infinite where a is zero and b is not
  double max_abs = 0;
  double cosine = 0;       // of a and b; NaN where one is zero
};
struct TensorDifference {
  std::string name;
  std::vector<int64_t> shape;
  Difference difference;
};
struct ModelDifference {
  std::vector<TensorDifference> tensors;  // in the order of the file
  Difference whole;
};

// FAILED_PRECONDITION: the models do not have the same tensors; the message names the first.
// DATA_LOSS: a stored chunk is damaged.
absl::StatusOr<ModelDifference> DiffModels(const ModelReader& a, const ModelReader& b);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_MODEL_DIFF_H_
