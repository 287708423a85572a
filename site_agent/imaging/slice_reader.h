// What series assembly decides on, one entry per slice, read without pixels.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SLICE_READER_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SLICE_READER_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium::imaging {

// How the stored bits of a file become numbers (PS3.3 C.7.6.3).
struct PixelFormat {
  int64_t rows = 0;
  int64_t columns = 0;
  int bits_allocated = 16;
  int bits_stored = 16;
  int high_bit = 15;
  bool is_signed = false;
  bool darker_is_higher = false;  // MONOCHROME1
  // Stored values that stand for "nothing was measured here", both ends included.
  std::optional<std::array<int64_t, 2>> padding;
  int64_t frame_voxels() const { return rows * columns; }
  int64_t frame_bytes() const { return frame_voxels() * (bits_allocated / 8); }
};

// What tells the volumes of one series apart. Slices of one volume agree on the first four; the
// others differ also inside a volume and count only where several images share a position.
enum class SplitKey : size_t {
  kStack,
  kEcho,
  kTemporalPosition,
  kDiffusion,  // b-value and direction
  kImageType,
  kContrast,
  kTriggerTime,
  kAcquisitionNumber,
  kAcquisitionTime,
  kInstanceNumber,
};
inline constexpr size_t kSplitKeys = 10;
const char* SplitKeyName(SplitKey key);  // "temporal position"

// One frame of one file. A classic object has one; an enhanced multi-frame object has many.
// Privacy: UIDs and the path identify; no message holds them.
struct Slice {
  std::string path;
  int64_t frame = 0;
  int64_t frames_in_file = 1;
  std::string sop_instance_uid;
  std::string series_uid;
  std::string frame_of_reference_uid;
  std::string modality;
  bool is_localizer = false;
  std::optional<std::array<double, 3>> position_lps_mm;
  std::optional<std::array<double, 6>> orientation;       // row direction, column direction
  std::optional<std::array<double, 2>> pixel_spacing_mm;  // between rows, between columns
  std::array<std::string, kSplitKeys> split_keys;         // by SplitKey; empty: not said
  std::string photometric;
  std::string transfer_syntax_uid;
  double rescale_slope = 1;
  double rescale_intercept = 0;
  PixelFormat format;
};

// INVALID_ARGUMENT: what DicomFile::Open refuses, not an image, or a kind of pixels that cannot be
// part of a volume (colour, float, mosaic, zero size).
absl::StatusOr<std::vector<Slice>> ReadSlices(const std::string& path);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SLICE_READER_H_
