#include "proto/wire/tensor_map.h"

#include <cmath>
#include <numeric>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/check.h"

namespace consilium::wire {

int64_t TensorSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t TensorLayout::parameters() const {
  int64_t sum = 0;
  for (const TensorSpec& tensor : tensors) sum += tensor.elements();
  return sum;
}

std::string TensorLayout::Canonical() const {
  std::string text;
  for (const TensorSpec& tensor : tensors) {
    absl::StrAppend(&text, tensor.name, "\tF32\t", absl::StrJoin(tensor.shape, ","), "\n");
  }
  return text;
}

absl::Status CheckLayout(const TensorLayout& layout) {
  if (layout.tensors.size() > kTensorsMax) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kTensorsMax, " tensors"));
  }
  absl::flat_hash_set<absl::string_view> names;
  int64_t total = 0;
  for (const TensorSpec& tensor : layout.tensors) {
    if (tensor.name.empty() || tensor.name.size() > kTensorNameBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("a tensor name must have 1 to ", kTensorNameBytesMax, " bytes"));
    }
    for (const char c : tensor.name) {
      // Names end up in logs, in error messages and in Canonical(), which tabs would make ambiguous.
      if (!absl::ascii_isprint(static_cast<unsigned char>(c))) {
        return absl::InvalidArgumentError("a tensor name must be printable ASCII");
      }
    }
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", tensor.name, " is there twice"));
    }
    if (tensor.shape.size() > kTensorRankMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", tensor.name, " has more than ", kTensorRankMax, " dimensions"));
    }
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) {
      if (size < 0 || size > kParametersMax || elements * size > kParametersMax) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", tensor.name, " has a shape out of range"));
      }
      elements *= size;
    }
    total += elements;
    if (total > kParametersMax) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kParametersMax, " parameters"));
    }
  }
  return absl::OkStatus();
}

absl::Span<const float> TensorMap::tensor(size_t index) const {
  CSL_CHECK(index < layout.tensors.size());
  int64_t offset = 0;
  for (size_t i = 0; i < index; ++i) offset += layout.tensors[i].elements();
  return absl::MakeConstSpan(values).subspan(static_cast<size_t>(offset),
                                             static_cast<size_t>(layout.tensors[index].elements()));
}

absl::Status CheckFinite(const TensorMap& map) {
  if (static_cast<int64_t>(map.values.size()) != map.layout.parameters()) {
    return absl::InvalidArgumentError("the number of values is not that of the layout");
  }
  size_t offset = 0;
  for (const TensorSpec& tensor : map.layout.tensors) {
    const auto end = offset + static_cast<size_t>(tensor.elements());
    for (; offset < end; ++offset) {
      if (!std::isfinite(map.values[offset])) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", tensor.name, " holds a value that is not finite"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace consilium::wire
