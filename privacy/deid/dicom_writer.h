// Writes a cleaned data set as a DICOM file of our own making: nothing of the old file's level is left.
#ifndef CONSILIUM_PRIVACY_DEID_DICOM_WRITER_H_
#define CONSILIUM_PRIVACY_DEID_DICOM_WRITER_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/pixel_data.h"

class DcmDataset;

namespace consilium::privacy {

// Native pixels that go from one file to the other without being parsed.
struct CopiedPixels {
  absl::string_view bytes;  // little endian, at least shape.bytes long
  PixelShape shape;
};

// Zero preamble, a fresh meta header, the data set, then `pixels`, cut to the image and without bits
// that are not stored. Native data sets are written as explicit little endian. The file (0600) appears
// whole or not at all. UNAVAILABLE: the disk.
absl::Status WriteDicom(DcmDataset& dataset, const std::optional<CopiedPixels>& pixels,
                        const std::string& path);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DICOM_WRITER_H_
