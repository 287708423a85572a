// Decodes one JPEG 2000 frame that the bounded walk has vouched for. The home of OpenJPEG.
#ifndef CONSILIUM_PRIVACY_DEID_JPEG2000_DECODE_H_
#define CONSILIUM_PRIVACY_DEID_JPEG2000_DECODE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/deid/jpeg2000_stream.h"
#include "privacy/deid/pixel_data.h"

namespace consilium::privacy {

// Writes one frame of `shape` to `frame`: samples beside each other in every pixel, in cells of
// shape.allocated bits (8 or 16, little endian), the low shape.stored bits of each meant.
// `bytes` are those that `stream` was read from. Thread-safe.
// Memory: 4 bytes a sample beside `frame`.
// INVALID_ARGUMENT: the stream has another size than the image, is damaged (whatever OpenJPEG warns
// of is: pixels that were made up are worse than none), or holds values beyond the stored bits.
absl::Status DecodeJpeg2000(absl::string_view bytes, const Jpeg2000Stream& stream,
                            const PixelShape& shape, absl::Span<char> frame);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_JPEG2000_DECODE_H_
