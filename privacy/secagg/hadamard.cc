#include "privacy/secagg/hadamard.h"

#include <bit>
#include <cmath>
#include <cstddef>

#include "proto/base/check.h"

namespace consilium::secagg {
namespace {

// One level of the fast transform: sums and differences of values that are `half` apart.
void Level(float* data, size_t size, size_t half) {
  for (size_t start = 0; start < size; start += 2 * half) {
    float* __restrict low = data + start;
    float* __restrict high = low + half;
    for (size_t i = 0; i < half; ++i) {
      const float a = low[i];
      const float b = high[i];
      low[i] = a + b;
      high[i] = a - b;
    }
  }
}

// Two levels in one pass over the memory, `half` and 2 * half.
void TwoLevels(float* data, size_t size, size_t half) {
  for (size_t start = 0; start < size; start += 4 * half) {
    float* __restrict p0 = data + start;
    float* __restrict p1 = p0 + half;
    float* __restrict p2 = p1 + half;
    float* __restrict p3 = p2 + half;
    for (size_t i = 0; i < half; ++i) {
      const float a = p0[i] + p1[i];
      const float b = p0[i] - p1[i];
      const float c = p2[i] + p3[i];
      const float d = p2[i] - p3[i];
      p0[i] = a + c;
      p1[i] = b + d;
      p2[i] = a - c;
      p3[i] = b - d;
    }
  }
}

}  // namespace

void Hadamard(absl::Span<float> block) {
  const size_t size = block.size();
  CSL_CHECK(std::has_single_bit(size));
  float* const data = block.data();
  size_t half = 1;
  for (; 2 * half < size; half *= 4) TwoLevels(data, size, half);
  if (half < size) Level(data, size, half);
  const auto norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  for (size_t i = 0; i < size; ++i) data[i] *= norm;
}

void RotationSigns::Apply(uint64_t offset, absl::Span<float> values) {
  CSL_CHECK(offset % 8 == 0);
  const uint64_t first = offset / 8;
  const size_t skip = first % privacy::kAesCtrBlockBytes;
  bytes_.resize(skip + (values.size() + 7) / 8);
  stream_.Start(seed_, first - skip);
  stream_.Read(absl::MakeSpan(bytes_));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes_[skip + i / 8]);
    const uint32_t sign = static_cast<uint32_t>(byte >> (i % 8) & 1) << 31;
    values[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(values[i]) ^ sign);
  }
}

}  // namespace consilium::secagg
