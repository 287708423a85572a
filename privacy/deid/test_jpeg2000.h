// Makes JPEG 2000 streams and DICOM files of them for tests.
#ifndef CONSILIUM_PRIVACY_DEID_TEST_JPEG2000_H_
#define CONSILIUM_PRIVACY_DEID_TEST_JPEG2000_H_

#include <string>
#include <vector>

namespace consilium::privacy {

struct TestPicture {
  int rows = 0;
  int columns = 0;
  int components = 1;
  int precision = 8;
  bool is_signed = false;
  bool lossy = false;            // the 9-7 wavelet, at a tenth of the bytes
  int tile = 0;                  // side of the tiles; 0: one for all
  std::vector<int> values = {};  // samples beside each other in every pixel
};

// The picture with a pattern that needs all its bits.
TestPicture Patterned(TestPicture picture);

// The code stream alone. Colours are mixed (RCT, ICT) where there are three components.
std::string EncodeJpeg2000(const TestPicture& picture);

// Replaces the pixels of the DICOM file at `path` by these items and describes `picture` in its
// header; the first item is the offset table.
void PutJpeg2000(const std::string& path, const TestPicture& picture, int frames,
                 const std::vector<std::string>& items);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_TEST_JPEG2000_H_
