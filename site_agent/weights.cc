#include "site_agent/weights.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::agent {

std::vector<training::NamedArray> ArraysFromTensorMap(wire::TensorMap&& map) {
  std::vector<training::NamedArray> arrays(map.layout.tensors.size());
  size_t end = map.values.size();
  for (size_t i = arrays.size(); i-- > 0;) {
    wire::TensorSpec& spec = map.layout.tensors[i];
    const size_t begin = end - static_cast<size_t>(spec.elements());
    arrays[i].values.assign(map.values.begin() + static_cast<ptrdiff_t>(begin),
                            map.values.begin() + static_cast<ptrdiff_t>(end));
    arrays[i].name = std::move(spec.name);
    arrays[i].shape = std::move(spec.shape);
    end = begin;
  }
  map = wire::TensorMap();
  return arrays;
}

wire::TensorLayout LayoutOf(const std::vector<training::NamedArray>& arrays) {
  wire::TensorLayout layout;
  for (const training::NamedArray& array : arrays) {
    layout.tensors.push_back({array.name, array.shape});
  }
  return layout;
}

absl::StatusOr<wire::TensorMap> TensorMapFromArrays(std::vector<training::NamedArray>&& arrays) {
  wire::TensorMap map;
  map.layout = LayoutOf(arrays);
  CSL_RETURN_IF_ERROR(wire::CheckLayout(map.layout));
  for (size_t i = 0; i < arrays.size(); ++i) {
    if (static_cast<int64_t>(arrays[i].values.size()) != map.layout.tensors[i].elements()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", i, " has ", arrays[i].values.size(), " values for a shape of ",
                       map.layout.tensors[i].elements()));
    }
  }
  map.values.reserve(static_cast<size_t>(map.layout.parameters()));
  for (training::NamedArray& array : arrays) {
    map.values.insert(map.values.end(), array.values.begin(), array.values.end());
    std::vector<float>().swap(array.values);
  }
  arrays.clear();
  return map;
}

}  // namespace consilium::agent
