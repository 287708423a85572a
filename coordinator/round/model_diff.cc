#include "coordinator/round/model_diff.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kBlockValues = 64 * 1024;

// Sums in double: 62 M float32 squares lose less than 1e-9 of the result.
struct Sums {
  double aa = 0, bb = 0, ab = 0, dd = 0, max_abs = 0;

  void Add(float x, float y) {
    const double a = x, b = y, d = b - a;
    aa += a * a;
    bb += b * b;
    ab += a * b;
    dd += d * d;
    max_abs = std::max(max_abs, std::abs(d));
  }
  void Add(const Sums& other) {
    aa += other.aa;
    bb += other.bb;
    ab += other.ab;
    dd += other.dd;
    max_abs = std::max(max_abs, other.max_abs);
  }
  Difference Result() const {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    const double l2 = std::sqrt(dd), norm = std::sqrt(aa);
    return {.l2 = l2,
            .relative_l2 = norm > 0 ? l2 / norm : (l2 > 0 ? kInfinity : 0),
            .max_abs = max_abs,
            .cosine = aa > 0 && bb > 0 ? ab / (norm * std::sqrt(bb)) : kNone};
  }
};

absl::StatusOr<wire::SafetensorsHeader> Header(const ModelReader& model) {
  absl::StatusOr<wire::SafetensorsHeader> header = wire::ReadSafetensorsHeader(
      [&](uint64_t offset, char* out, size_t size) { return model.ReadAt(offset, out, size); },
      model.bytes());
  // It was checked when it was taken in.
  if (absl::IsInvalidArgument(header.status())) return absl::DataLossError(header.status().message());
  return header;
}

absl::Status CheckSameTensors(const wire::TensorLayout& a, const wire::TensorLayout& b) {
  for (size_t i = 0; i < std::max(a.tensors.size(), b.tensors.size()); ++i) {
    const bool same = i < a.tensors.size() && i < b.tensors.size() && a.tensors[i] == b.tensors[i];
    if (same) continue;
    const std::string& name = (i < a.tensors.size() ? a : b).tensors[i].name;
    return absl::FailedPreconditionError(
        absl::StrCat("the models do not have the same tensors; the first that differs is ", name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelDifference> DiffModels(const ModelReader& a, const ModelReader& b) {
  CSL_ASSIGN_OR_RETURN(const wire::SafetensorsHeader header_a, Header(a));
  CSL_ASSIGN_OR_RETURN(const wire::SafetensorsHeader header_b, Header(b));
  CSL_RETURN_IF_ERROR(CheckSameTensors(header_a.layout, header_b.layout));
  std::vector<float> block_a(kBlockValues), block_b(kBlockValues);
  const auto read = [](const ModelReader& model, uint64_t data, int64_t at, int64_t count,
                       std::vector<float>& block) {
    return model.ReadAt(data + static_cast<uint64_t>(at) * sizeof(float),
                        reinterpret_cast<char*>(block.data()),
                        static_cast<size_t>(count) * sizeof(float));
  };
  ModelDifference result;
  Sums whole;
  int64_t begin = 0;
  for (const wire::TensorSpec& tensor : header_a.layout.tensors) {
    Sums sums;
    const int64_t end = begin + tensor.elements();
    for (int64_t at = begin; at < end; at += kBlockValues) {
      const int64_t count = std::min(kBlockValues, end - at);
      CSL_RETURN_IF_ERROR(read(a, header_a.data_offset, at, count, block_a));
      CSL_RETURN_IF_ERROR(read(b, header_b.data_offset, at, count, block_b));
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) sums.Add(block_a[i], block_b[i]);
    }
    whole.Add(sums);
    result.tensors.push_back({tensor.name, tensor.shape, sums.Result()});
    begin = end;
  }
  result.whole = whole.Result();
  return result;
}

}  // namespace consilium::coordinator
