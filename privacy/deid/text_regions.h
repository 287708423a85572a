// Finds text that somebody drew into a picture.
//
// Own method, no recognition: letters are patches of one brightness with sharp edges, alike in height,
// side by side on a line. What is found is a place, never a word.
#ifndef CONSILIUM_PRIVACY_DEID_TEXT_REGIONS_H_
#define CONSILIUM_PRIVACY_DEID_TEXT_REGIONS_H_

#include <cstdint>
#include <vector>

namespace consilium::privacy {

// One frame in grey, 0 the darkest value that occurs in it and 255 the brightest.
struct GreyFrame {
  int rows = 0;
  int columns = 0;
  std::vector<uint8_t> values;  // row by row
};

struct PixelBox {
  int row = 0;
  int column = 0;
  int rows = 0;
  int columns = 0;
  bool operator==(const PixelBox& other) const = default;
};

// Lines of text of four letters and more, from five pixels' height on, in light or dark letters; each
// box is wide enough to cover letters at its ends that were not recognised as such. No proof of
// absence: handwriting, single letters and letters that hardly stand out are missed.
// Time: about 0.1 us for a pixel.
std::vector<PixelBox> FindText(const GreyFrame& frame);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_TEXT_REGIONS_H_
