// Pixel data of exactly the length and the bits that the image has.
#ifndef CONSILIUM_PRIVACY_DEID_PIXEL_DATA_H_
#define CONSILIUM_PRIVACY_DEID_PIXEL_DATA_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/object_kind.h"
#include "privacy/deid/pixel_rules.h"

class DcmDataset;

namespace consilium::privacy {

// What has to be known of a picture before its pixels may be written.
enum class PixelRisk {
  kNone,     // nothing says that anybody wrote into it
  kInspect,  // stays where the search for text finds none
  kLook,     // held back for a person, or blackened
};

struct PixelVerdict {
  PixelRisk risk = PixelRisk::kNone;
  const char* reason = "";  // for people; no value of the file
  std::vector<const PixelRule*> rules = {};  // that know where there is text; of the profile or static
};

// By the header alone; `profile` must outlive the verdict. That it sees no risk is no proof; BurnedInAnnotation of NO is none either.
PixelVerdict JudgePixels(DcmDataset& dataset, ObjectKind kind, const DeidProfile& profile);

// Decodes encapsulated pixels, so that no comment of a codec stays; cuts native pixels to rows x
// columns x samples x frames x bits and clears what lies outside the stored bits. Counts in
// report.hidden_bytes_dropped.
// INVALID_ARGUMENT: pixels absent, broken or shorter than the image, or bits that contradict each
// other. UNIMPLEMENTED: encoding not covered.
absl::Status ExactPixels(DcmDataset& dataset, DeidReport& report);

struct PixelShape {
  uint64_t rows = 0, columns = 0, samples = 1, frames = 1;
  uint64_t bytes = 0;  // exact, before padding to an even length
  uint64_t bits = 0;   // of all pixels together
  uint16_t allocated = 0;
  uint16_t stored = 0;
  uint16_t high_bit = 0;
  bool is_signed = false;
};
// INVALID_ARGUMENT: no size, or bits that contradict each other. UNIMPLEMENTED: other than 1, 8, 16
// or 32 bits.
absl::StatusOr<PixelShape> ShapeOf(DcmDataset& dataset);

// A piece of native little endian pixels that begins `offset` bytes into them (a multiple of 8),
// without the bits below and above the stored ones (sign extended where signed) and those behind
// the last pixel: readers must ignore them, so they can hold anything. Old overlays live there. The
// piece itself where it holds none, else a copy in `room`.
absl::string_view WithoutUnstored(const PixelShape& shape, uint64_t offset, absl::string_view piece,
                                  std::string& room);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PIXEL_DATA_H_
