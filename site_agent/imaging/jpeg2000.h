// JPEG 2000 codestreams, which DCMTK does not decode, through the GDCM that ITK brings.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_JPEG2000_H_
#define CONSILIUM_SITE_AGENT_IMAGING_JPEG2000_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/imaging/slice_reader.h"

namespace consilium::imaging {

// One frame; format.frame_bytes() bytes. GDCM sees the codestream alone, never the file.
// INVALID_ARGUMENT: broken, or of another size than the format says.
absl::StatusOr<std::string> DecodeJpeg2000Frame(absl::string_view codestream,
                                                const PixelFormat& format);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_JPEG2000_H_
