#include "site_agent/round/update_builder.h"

#include "absl/strings/str_cat.h"
#include "site_agent/weights.h"

namespace consilium::agent {

absl::StatusOr<wire::TensorMap> UpdateDelta(std::vector<training::NamedArray> student,
                                            wire::TensorMap base) {
  if (LayoutOf(student) != base.layout) {
    return absl::InvalidArgumentError("the trained weights do not have the model's layout");
  }
  size_t at = 0;
  for (size_t i = 0; i < student.size(); ++i) {
    std::vector<float>& values = student[i].values;
    if (static_cast<int64_t>(values.size()) != base.layout.tensors[i].elements()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", i, " does not have the values of its shape"));
    }
    for (const float value : values) {
      base.values[at] = value - base.values[at];
      ++at;
    }
    std::vector<float>().swap(values);
  }
  if (const absl::Status finite = wire::CheckFinite(base); !finite.ok()) {
    return absl::InternalError(
        absl::StrCat("the training diverged, nothing is sent: ", finite.message()));
  }
  return base;
}

}  // namespace consilium::agent
