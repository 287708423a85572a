// The bounded walk over a DICOM file's structure that comes before any DICOM library.
//
// DCMTK 3.6.7 recurses without a limit: a few hundred kilobytes of nested sequences end the
// process. What passes here is safe to hand to it.
#ifndef CONSILIUM_PRIVACY_DEID_DICOM_SCAN_H_
#define CONSILIUM_PRIVACY_DEID_DICOM_SCAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

inline constexpr int kSequenceDepthMax = 64;
// Bounds the memory of the parsed data set; a large enhanced object has some 10^5 elements.
inline constexpr int64_t kElementsMax = 2'000'000;

struct DicomPreamble {
  std::string transfer_syntax_uid;
  uint64_t dataset_offset = 0;
};

enum class DicomEncoding { kImplicitLittle, kExplicitLittle, kExplicitBig };

// An element of the data set itself, not of a sequence in it.
struct TopElement {
  uint32_t tag = 0;    // group << 16 | element
  char vr[3] = "";     // empty in implicit encoding
  uint64_t begin = 0;  // of its header; it ends where the next begins
};

// Offsets count from the start of the data set.
struct DicomLayout {
  uint64_t header_bytes = 0;  // everything before the PixelData element
  bool has_pixels = false;
  bool encapsulated = false;
  uint64_t pixel_offset = 0;  // native: the value
  uint64_t pixel_bytes = 0;
  uint64_t end = 0;  // just behind PixelData, or the end of the data set
  // Encapsulated: offset and length of each fragment, the offset table (the first) included.
  std::vector<std::pair<uint64_t, uint64_t>> fragments;
  std::vector<TopElement> elements;  // before the pixels
};

// Preamble and file meta group. A file without preamble is accepted where its first bytes are
// plausible as DICOM.
absl::StatusOr<DicomPreamble> ScanPreamble(absl::string_view file);

// Checks depth, every length, the number of elements and that no attribute of the data set itself
// is there twice, up to the end of PixelData. INVALID_ARGUMENT with the fault in words; no value of
// the file appears in it.
absl::StatusOr<DicomLayout> ScanDataset(absl::string_view dataset, DicomEncoding encoding);
// The same where `head` is the beginning of a data set and `behind` more bytes follow, of which
// nothing has to be looked at: native pixels begin in the head. None: it cannot be told without the
// rest.
std::optional<DicomLayout> ScanHead(absl::string_view head, uint64_t behind,
                                    DicomEncoding encoding);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DICOM_SCAN_H_
