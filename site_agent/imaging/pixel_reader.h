// The pixels of one file, decoded, and their conversion to numbers.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_PIXEL_READER_H_
#define CONSILIUM_SITE_AGENT_IMAGING_PIXEL_READER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/slice_reader.h"

namespace consilium::imaging {

// Immutable after Load. Native pixels are not copied.
class FilePixels {
 public:
  // `frame_bytes` per frame must come out, for `frames` frames.
  // INVALID_ARGUMENT: too few bytes, a broken stream, an unsupported compression.
  // RESOURCE_EXHAUSTED: the file claims far more pixels than its bytes can hold.
  static absl::StatusOr<FilePixels> Load(const std::string& path, const PixelFormat& format,
                                         int64_t frames);
  // Bytes of one frame, in the machine's byte order for `bits_allocated`.
  absl::string_view Frame(int64_t frame) const;

 private:
  explicit FilePixels(DicomFile file) : file_(std::move(file)) {}
  absl::Status Decode(const PixelFormat& format, int64_t frames);
  absl::Status DecodeJpeg2000(const PixelFormat& format, int64_t frames);

  DicomFile file_;
  std::string decoded_;  // empty: the pixels are those of the file
  uint64_t frame_bytes_ = 0;
};

// Whether the file's bytes can hold `bytes_wanted` of decoded pixels; asked before anything of that
// size is allocated. Errors as for FilePixels::Load.
absl::Status CheckPixelBytes(const DicomFile& file, uint64_t bytes_wanted);

// Every bit of PixelData as it stands in the file, decompressed; for masks whose frames do not end
// on bytes. `bytes_wanted` at least.
absl::StatusOr<std::string> ReadPixelBytes(const DicomFile& file, uint64_t bytes_wanted);

// Writes frame `slice.frame` of `pixels` to `out` (frame_voxels values): masked to the stored bits,
// inverted where darker is higher, rescaled. Padding becomes NaN; true when there was any.
bool ConvertFrame(const FilePixels& pixels, const Slice& slice, float* out);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_PIXEL_READER_H_
