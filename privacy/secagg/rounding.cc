#include "privacy/secagg/rounding.h"

#include <bit>
#include <cstddef>
#include <cstring>

#include "proto/base/check.h"

namespace consilium::secagg {
namespace {

// Added to a double below 2^50, leaves its nearest integer in the lowest bits of the mantissa: an
// addition rounds to even, and the vector units have it.
constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52

uint64_t NearestInteger(double value) { return std::bit_cast<uint64_t>(value + kMagic); }

template <typename Word>
void RoundWordsToEven(const float* __restrict values, double scale, Word* __restrict words,
                      size_t count) {
  for (size_t i = 0; i < count; ++i) {
    words[i] = static_cast<Word>(NearestInteger(static_cast<double>(values[i]) * scale));
  }
}

}  // namespace

void RoundToEven(absl::Span<const float> values, double scale, absl::Span<uint32_t> words) {
  CSL_CHECK(values.size() == words.size());
  RoundWordsToEven(values.data(), scale, words.data(), words.size());
}

void RoundToEven(absl::Span<const float> values, double scale, absl::Span<uint16_t> words) {
  CSL_CHECK(values.size() == words.size());
  RoundWordsToEven(values.data(), scale, words.data(), words.size());
}

template <typename Word>
void StochasticRounder::RoundWords(uint64_t offset, absl::Span<const float> values, double scale,
                                   absl::Span<Word> words) {
  CSL_CHECK(values.size() == words.size() && offset % 4 == 0);
  const size_t bytes = 4 * values.size();
  if (random_.size() < bytes) random_ = privacy::SecretBytes(bytes);
  stream_.Start(seed_, 4 * offset);
  stream_.Read(absl::MakeSpan(random_.data(), bytes));
  const char* const random = random_.view().data();
  for (size_t i = 0; i < values.size(); ++i) {
    // floor(v + u) for u of [0, 1): the nearest integer to v + u - 1/2, where u has a half of its
    // last unit added so that no halves occur for integers v.
    uint32_t draw;
    std::memcpy(&draw, random + 4 * i, sizeof(draw));
    const double shift = (static_cast<double>(draw) + 0.5) * 0x1p-32 - 0.5;
    words[i] = static_cast<Word>(NearestInteger(static_cast<double>(values[i]) * scale + shift));
  }
}

void StochasticRounder::Round(uint64_t offset, absl::Span<const float> values, double scale,
                              absl::Span<uint32_t> words) {
  RoundWords(offset, values, scale, words);
}

void StochasticRounder::Round(uint64_t offset, absl::Span<const float> values, double scale,
                              absl::Span<uint16_t> words) {
  RoundWords(offset, values, scale, words);
}

}  // namespace consilium::secagg
