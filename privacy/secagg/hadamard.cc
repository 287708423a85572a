#include "privacy/secagg/hadamard.h"

#include <bit>
#include <cmath>
#include <cstddef>

#include "proto/base/check.h"

namespace consilium::secagg {

void Hadamard(absl::Span<float> block) {
  const size_t size = block.size();
  CSL_CHECK(std::has_single_bit(size));
  float* const data = block.data();
  for (size_t half = 1; half < size; half *= 2) {
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
