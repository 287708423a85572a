// Writes a cleaned data set as a DICOM file of our own making: nothing of the old file's level is
// left.
#ifndef CONSILIUM_PRIVACY_DEID_DICOM_WRITER_H_
#define CONSILIUM_PRIVACY_DEID_DICOM_WRITER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/deid/pixel_data.h"
#include "privacy/deid/source_file.h"

namespace consilium::privacy {

// A data set without its pixel data, as explicit little endian bytes in ascending order.
struct EncodedHeader {
  std::string sop_class_uid, sop_instance_uid;
  std::string bytes;
};
absl::StatusOr<EncodedHeader> EncodeHeader(DcmDataset& dataset);

// Both write a file (0600) with a zero preamble and a fresh meta header, that appears whole or not
// at all. UNAVAILABLE: the disk.
//
// The data set as it is: encapsulated, or native as explicit little endian.
absl::Status WriteDicom(DcmDataset& dataset, const std::string& path);
// Pixels that go from one file to the other without being parsed, cut to `shape` and without bits
// that are not stored. INVALID_ARGUMENT: `source` has fewer.
absl::Status WriteDicom(const EncodedHeader& header, const SourceFile& source,
                        const PixelShape& shape, const std::string& path);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DICOM_WRITER_H_
