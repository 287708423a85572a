// The weights of a model, or a change of them, as one contiguous run of float32 with a layout.
#ifndef CONSILIUM_PROTO_WIRE_TENSOR_MAP_H_
#define CONSILIUM_PROTO_WIRE_TENSOR_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace consilium::wire {

inline constexpr size_t kTensorsMax = 16 * 1024;
inline constexpr size_t kTensorNameBytesMax = 256;
inline constexpr size_t kTensorRankMax = 8;
inline constexpr int64_t kParametersMax = int64_t{1} << 31;

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;  // empty: a scalar
  int64_t elements() const;    // product; the spec must have passed CheckLayout
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// Names and shapes in order; the values of tensor i follow those of tensor i-1, C order.
struct TensorLayout {
  std::vector<TensorSpec> tensors;
  int64_t parameters() const;
  // Text that two layouts share exactly when they are equal: "name\tF32\t2,3\n" per tensor. Its
  // SHA-256 is the layout hash of a manifest.
  std::string Canonical() const;
  friend bool operator==(const TensorLayout&, const TensorLayout&) = default;
};

// INVALID_ARGUMENT: more than the limits above, an empty or repeated name, a name with a control
// character, a negative dimension, a product over kParametersMax.
absl::Status CheckLayout(const TensorLayout& layout);

struct TensorMap {
  TensorLayout layout;
  std::vector<float> values;  // layout.parameters() of them
  // Values of tensor i. Valid while the map lives and is not resized.
  absl::Span<const float> tensor(size_t index) const;
};

// INVALID_ARGUMENT naming the tensor when a value is NaN or infinite, or the count is wrong.
absl::Status CheckFinite(const TensorMap& map);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_TENSOR_MAP_H_
