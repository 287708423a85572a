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
  // Two slices of one volume agree on these: echo, temporal position, b-value, stack.
  std::vector<std::string> split_keys;
  // These only tell why two slices share a position: trigger and acquisition time.
  std::vector<std::string> moments;
  double rescale_slope = 1;
  double rescale_intercept = 0;
  PixelFormat format;
};

// Names of Slice::split_keys, by index, for messages.
inline constexpr const char* kSplitKeyNames[] = {"echoes", "temporal positions", "b-values",
                                                 "stacks"};

// INVALID_ARGUMENT: what DicomFile::Open refuses, not an image, or a kind of pixels that cannot be
// part of a volume (colour, float, mosaic, zero size).
absl::StatusOr<std::vector<Slice>> ReadSlices(const std::string& path);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SLICE_READER_H_
