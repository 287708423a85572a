// The JPEG 2000 pixels of a data set as native ones.
#ifndef CONSILIUM_PRIVACY_DEID_JPEG2000_PIXELS_H_
#define CONSILIUM_PRIVACY_DEID_JPEG2000_PIXELS_H_

#include "absl/status/status.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/pixel_data.h"

class DcmDataset;

namespace consilium::privacy {

// Replaces encapsulated JPEG 2000 pixels (high-throughput ones too) by native little endian ones
// and makes the header say what they are now: colours that were mixed for coding are RGB, samples
// lie pixel by pixel, and what a lossy stream has lost stays said (PS3.3 C.7.6.1.1.5). Bytes behind
// the end of a stream are counted in report.hidden_bytes_dropped. Memory: the decoded pixels, and
// of one frame five bytes a sample. INVALID_ARGUMENT: fragments that do not match the frames, or a
// stream that is broken, damaged or of another form than the header says. UNIMPLEMENTED: a form of
// JPEG 2000 or of pixels not covered.
absl::Status DecodeJpeg2000Pixels(DcmDataset& dataset, const PixelShape& shape, DeidReport& report);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_JPEG2000_PIXELS_H_
