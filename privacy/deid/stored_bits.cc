#include "privacy/deid/stored_bits.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace consilium::privacy {
namespace {

static_assert(std::endian::native == std::endian::little);

// True where `stray` finds no bit in any word. The last word is filled up with zeros.
template <typename Stray>
bool NoneIn(absl::string_view pixels, const Stray& stray) {
  uint64_t word = 0, found = 0;
  const size_t whole = pixels.size() - pixels.size() % sizeof(word);
  const char* const data = pixels.data();
  for (size_t i = 0; i < whole; i += sizeof(word)) {
    std::memcpy(&word, data + i, sizeof(word));
    found |= stray(word);
  }
  word = 0;
  if (whole < pixels.size()) std::memcpy(&word, data + whole, pixels.size() - whole);
  return (found | stray(word)) == 0;
}

}  // namespace

StoredBits::StoredBits(int allocated, int stored, int high_bit, bool is_signed)
    : high_bit_(high_bit), is_signed_(is_signed) {
  const uint64_t pixel = allocated == 8 ? 0xFF : 0xFFFF;
  const uint64_t upto = (uint64_t{2} << high_bit) - 1;
  in_each_ = ~uint64_t{0} / pixel;
  below_ = ((uint64_t{1} << (high_bit + 1 - stored)) - 1) * in_each_;
  above_ = (pixel & ~upto) * in_each_;
}

bool StoredBits::AreClear(absl::string_view pixels) const {
  const uint64_t below = below_, above = above_;
  if (!is_signed_) {
    return NoneIn(pixels, [=](uint64_t word) { return word & (above | below); });
  }
  return NoneIn(pixels, [=](uint64_t word) {
    // A bit above that differs from the one under it.
    return ((word ^ word << 1) & above) | (word & below);
  });
}

bool StoredBits::Clear(char* pixels, size_t bytes) const {
  if (AreClear({pixels, bytes})) return false;
  uint64_t word = 0;
  for (size_t i = 0; i < bytes; i += sizeof(word)) {
    const size_t length = std::min(sizeof(word), bytes - i);
    std::memcpy(&word, pixels + i, length);
    word = Clear(word);
    std::memcpy(pixels + i, &word, length);
  }
  return true;
}

uint64_t StoredBits::Clear(uint64_t word) const {
  word &= ~(above_ | below_);
  if (!is_signed_) return word;
  // A product of one bit for each pixel and one pixel's bits stays in each pixel's lane.
  return word | ((word >> high_bit_) & in_each_) * (above_ / in_each_);
}

}  // namespace consilium::privacy
