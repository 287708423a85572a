#include "privacy/deid/dicom_scan.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

// Explicit little endian attributes of group 0028, each of two bytes.
std::string Attributes(const std::vector<unsigned char>& elements) {
  std::string bytes;
  for (const unsigned char element : elements) {
    bytes += std::string("\x28\0", 2) + static_cast<char>(element) + std::string("\x01US\x02\0", 5);
    bytes += "ab";
  }
  return bytes;
}

bool Passes(const std::vector<unsigned char>& elements) {
  return ScanDataset(Attributes(elements), DicomEncoding::kExplicitLittle).ok();
}

TEST(DicomScanTest, AnAttributeThatIsThereTwiceIsFoundWhereverItStands) {
  EXPECT_TRUE(Passes({0x00, 0x01, 0x02}));
  EXPECT_TRUE(Passes({0x02, 0x00, 0x01}));  // in no order, which happens
  EXPECT_FALSE(Passes({0x00, 0x00}));
  EXPECT_FALSE(Passes({0x00, 0x01, 0x00}));
  EXPECT_FALSE(Passes({0x01, 0x00, 0x01}));  // after a step back, ascending again
}

TEST(DicomScanTest, AHeadIsEnoughWhereNativePixelsBeginInIt) {
  const std::string pixels("\xE0\x7F\x10\0OW\0\0\x08\0\0\0", 12);
  const std::string head = Attributes({0x00}) + pixels;
  const auto layout = ScanHead(head, 8, DicomEncoding::kExplicitLittle);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->pixel_offset, head.size());
  EXPECT_EQ(layout->pixel_bytes, 8u);
  EXPECT_EQ(layout->end, head.size() + 8);
  EXPECT_FALSE(ScanHead(head, 7, DicomEncoding::kExplicitLittle).has_value());
  EXPECT_FALSE(ScanHead(Attributes({0x00}), 8, DicomEncoding::kExplicitLittle).has_value());
  EXPECT_FALSE(ScanHead(head.substr(0, 13), 20, DicomEncoding::kExplicitLittle).has_value());
}

}  // namespace
}  // namespace consilium::privacy
