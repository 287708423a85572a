// Text in the pictures of a data set: whether there is any, and blackening it.
#ifndef CONSILIUM_PRIVACY_DEID_PIXEL_TEXT_H_
#define CONSILIUM_PRIVACY_DEID_PIXEL_TEXT_H_

#include <vector>

#include "absl/status/statusor.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/pixel_rules.h"
#include "privacy/deid/text_regions.h"

class DcmDataset;

namespace consilium::privacy {

// Pixels as ExactPixels leaves them: native, little endian. Palettes are looked up.
// UNIMPLEMENTED: pixels that stay encoded, of one or 32 bits, or with shared colours.
// INVALID_ARGUMENT: pixels that do not fit the header.
class Pictures {
 public:
  // Borrows `dataset`, which must outlive it.
  static absl::StatusOr<Pictures> Open(DcmDataset& dataset);

  // In any frame.
  bool ShowText() const;
  // Blackens, in all frames, what `rules` say, what lies outside the regions that an ultrasound
  // image declares, and lines of text where any frame has them. Repeats until no text is found.
  // Counts the picture, and each rule by its name. FAILED_PRECONDITION: text is still found
  // afterwards; the data set is then not to be used.
  absl::Status BlackOut(const std::vector<const PixelRule*>& rules, DeidReport& report);
  // A frame from the middle.
  GreyFrame Middle() const { return Grey(frames_ / 2); }

 private:
  explicit Pictures(DcmDataset& dataset) : dataset_(dataset) {}
  absl::Status ReadPalette();
  GreyFrame Grey(size_t frame) const;
  int Luminance(size_t frame, size_t pixel) const;
  uint16_t Sample(size_t frame, size_t pixel, size_t sample) const;
  std::vector<PixelBox> Text() const;
  void Fill(const PixelBox& box);
  absl::Status Store();

  DcmDataset& dataset_;
  size_t rows_ = 0, columns_ = 0, samples_ = 1, frames_ = 1;
  bool planar_ = false, wide_ = false, is_signed_ = false, ybr_ = false;
  uint16_t mask_ = 0xFFFF;
  uint16_t black_ = 0;
  std::vector<uint8_t> palette_;  // luminance by index; empty: no palette
  std::vector<uint16_t> samples_of_all_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PIXEL_TEXT_H_
