#include "privacy/deid/stored_bits.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

// A pixel at a time, from the definition.
template <typename Pixel>
std::vector<Pixel> OneByOne(std::vector<Pixel> pixels, int stored, int high_bit, bool is_signed) {
  for (Pixel& pixel : pixels) {
    unsigned value = 0;
    for (int bit = high_bit - stored + 1; bit <= high_bit; ++bit) value |= pixel & (1u << bit);
    if (is_signed && (value >> high_bit & 1u) != 0) value |= ~0u << high_bit;
    pixel = static_cast<Pixel>(value);
  }
  return pixels;
}

template <typename Pixel>
void CheckAllFormats(std::mt19937& random) {
  constexpr int kAllocated = sizeof(Pixel) * 8;
  for (int high_bit = 0; high_bit < kAllocated; ++high_bit) {
    for (int stored = 1; stored <= high_bit + 1; ++stored) {
      for (const bool is_signed : {false, true}) {
        std::vector<Pixel> pixels(1 + random() % 21);  // with and without a rest of a word
        for (Pixel& pixel : pixels) pixel = static_cast<Pixel>(random());
        const std::vector<Pixel> wanted = OneByOne(pixels, stored, high_bit, is_signed);
        const StoredBits bits(kAllocated, stored, high_bit, is_signed);
        const size_t bytes = pixels.size() * sizeof(Pixel);
        const auto view = [&] {
          return absl::string_view(reinterpret_cast<const char*>(pixels.data()), bytes);
        };
        EXPECT_EQ(bits.AreClear(view()), pixels == wanted);
        EXPECT_EQ(bits.Clear(reinterpret_cast<char*>(pixels.data()), bytes),
                  pixels != wanted || !bits.AreClear(view()));
        EXPECT_EQ(pixels, wanted) << stored << " " << high_bit << " " << is_signed;
        EXPECT_TRUE(bits.AreClear(view()));
      }
    }
  }
}

TEST(StoredBitsTest, AWordAtATimeIsAsAPixelAtATime) {
  std::mt19937 random(1);
  CheckAllFormats<uint8_t>(random);
  CheckAllFormats<uint16_t>(random);
}

TEST(StoredBitsTest, FindsOneStrayBitWhereverItIs) {
  for (size_t pixel = 0; pixel < 9; ++pixel) {
    std::vector<uint16_t> pixels(9, 0x0FFF);
    const StoredBits bits(16, 12, 11, /*is_signed=*/false);
    const absl::string_view view(reinterpret_cast<const char*>(pixels.data()), 18);
    EXPECT_TRUE(bits.AreClear(view));
    pixels[pixel] |= 0x8000;
    EXPECT_FALSE(bits.AreClear(view));
  }
}

}  // namespace
}  // namespace consilium::privacy
