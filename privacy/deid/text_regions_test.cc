#include "privacy/deid/text_regions.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "privacy/deid/thumbnail.h"

namespace consilium::privacy {
namespace {

constexpr int kRows = 120, kColumns = 200;

// Letters of 5 x 7 pixels, enlarged: H, O, L and T.
constexpr const char* kLetters[] = {
    "1000110001100011111110001100011000101110", "0111010001100011000110001100010111000000",
    "1000010000100001000010000100001111100000", "1111100100001000010000100001000010000000"};

void Draw(GreyFrame& frame, int row, int column, int scale, uint8_t value, int letters = 8) {
  for (int i = 0; i < letters; ++i) {
    for (int y = 0; y < 7 * scale; ++y) {
      for (int x = 0; x < 5 * scale; ++x) {
        if (kLetters[i % 4][y / scale * 5 + x / scale] != '1') continue;
        frame.values[static_cast<size_t>((row + y) * frame.columns + column + i * 6 * scale + x)] =
            value;
      }
    }
  }
}

GreyFrame Tissue() {
  GreyFrame frame{kRows, kColumns, {}};
  // Smooth structure with some noise, as a scanner makes it.
  unsigned state = 1;
  for (int y = 0; y < kRows; ++y) {
    for (int x = 0; x < kColumns; ++x) {
      state = state * 1664525u + 1013904223u;
      const int round = (y - 60) * (y - 60) + (x - 100) * (x - 100);
      frame.values.push_back(
          static_cast<uint8_t>((round < 2500 ? 110 : 20) + static_cast<int>(state >> 28)));
    }
  }
  return frame;
}

bool Covered(const std::vector<PixelBox>& boxes, int row, int column, int rows, int columns) {
  return std::any_of(boxes.begin(), boxes.end(), [&](const PixelBox& box) {
    return box.row <= row && box.column <= column && box.row + box.rows >= row + rows &&
           box.column + box.columns >= column + columns;
  });
}

TEST(TextRegionsTest, FindsLettersOfAnySizeAndShadeWhereTheyLie) {
  for (const int scale : {1, 2, 3}) {
    for (const uint8_t value : {0, 255, 200}) {
      for (const int row : {4, 50, 95}) {
        GreyFrame frame = Tissue();
        const int letters = value == 0 ? 4 : 8;  // dark ones where it is bright
        if (value == 0 && row != 50) continue;
        const int column = value == 0 ? 66 : 6;
        Draw(frame, row, column, scale, value, letters);
        EXPECT_TRUE(Covered(FindText(frame), row, column, 7 * scale, letters * 6 * scale - scale))
            << "scale " << scale << " value " << int{value} << " row " << row;
      }
    }
  }
}

TEST(TextRegionsTest, FindsNoneInTissueBarsOrGrids) {
  GreyFrame frame = Tissue();
  EXPECT_TRUE(FindText(frame).empty());
  for (int y = 10; y < 18; ++y) {
    for (int x = 10; x < 150; ++x) frame.values[static_cast<size_t>(y * kColumns + x)] = 255;
  }
  for (int x = 20; x < 180; x += 40) {
    for (int y = 20; y < 110; ++y) frame.values[static_cast<size_t>(y * kColumns + x)] = 255;
  }
  EXPECT_TRUE(FindText(frame).empty());
}

TEST(TextRegionsTest, StaysInsideTheFrameWhateverItsSize) {
  for (const int side : {0, 1, 2, 5, 9}) {
    GreyFrame frame{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side), 7)};
    EXPECT_TRUE(FindText(frame).empty());
  }
}

TEST(TextRegionsTest, AThumbnailIsAPngOfAtMost1024PixelsASide) {
  GreyFrame wide{10, 3000, std::vector<uint8_t>(30000, 9)};
  const std::string png = ThumbnailPng(wide);
  ASSERT_GT(png.size(), 33u);
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(png[i]); };
  EXPECT_EQ(byte(18) << 8 | byte(19), 1000);  // width
  EXPECT_EQ(byte(22) << 8 | byte(23), 4);     // height
}

}  // namespace
}  // namespace consilium::privacy
