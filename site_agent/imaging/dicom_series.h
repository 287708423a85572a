// One DICOM series in, one volume with the right geometry out, or the reason why not.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_DICOM_SERIES_H_
#define CONSILIUM_SITE_AGENT_IMAGING_DICOM_SERIES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

struct AssembledSeries {
  Volume volume;
  std::string modality;
  std::string series_uid;  // of the files read; identifies unless de-identified
  std::string frame_of_reference_uid;
  std::vector<std::string> slice_paths;  // by k, one per slice
  std::vector<std::string> slice_uids;   // SOP instance UIDs, by k
  std::vector<int> slice_frames;         // by k: 1-based frame of a multi-frame object, else 0
  std::vector<std::string> notes;        // what was set aside, in words without values
};

// Reads the files of one series (any order, any axis, any transfer syntax that DCMTK, or GDCM
// through ITK for JPEG 2000, decodes) and assembles them by ImagePositionPatient along the slice
// normal. Never guesses: a missing slice, unequal gaps, tilt, several positions with different
// pixels, mixed matrix, orientation or frame of reference are INVALID_ARGUMENT with the reason.
// Rescale slope and intercept are applied by slice; MONOCHROME1 is inverted; voxels of
// PixelPaddingValue get the smallest real value of the volume. Slices ascend along the normal (row
// direction x column direction), so the direction's determinant is +1.
// RESOURCE_EXHAUSTED: more than 2^31 voxels.
absl::StatusOr<AssembledSeries> AssembleSeries(const std::vector<std::string>& paths);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_DICOM_SERIES_H_
