// One DICOM series in, its volumes with the right geometry out, or the reason why not.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_DICOM_SERIES_H_
#define CONSILIUM_SITE_AGENT_IMAGING_DICOM_SERIES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/imaging/series_report.h"
#include "site_agent/imaging/slice_reader.h"
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
  SeriesReport report;
};

// One volume of a series, before its pixels are read.
struct SortedVolume {
  std::vector<Slice> ordered;  // one per position, ascending along the normal
  Geometry geometry;
  SeriesReport report;
};

// Reads the headers of one series' files (any order) and sorts them into volumes: several where the
// series holds echoes, phases, time points or b-values (SplitIntoVolumes). A part that is not a
// volume is set aside with the reason while another part is one.
// By ImagePositionPatient along the slice normal; never guesses: a missing slice, unequal gaps,
// tilt, different pixels at one position, mixed matrix, orientation or frame of reference are
// INVALID_ARGUMENT with the reason. RESOURCE_EXHAUSTED: more than 2^31 voxels.
absl::StatusOr<std::vector<SortedVolume>> SortSeries(const std::vector<std::string>& paths);

// Reads the pixels, in any transfer syntax that DCMTK, or GDCM through ITK for JPEG 2000, decodes.
// Rescale slope and intercept are applied by slice; MONOCHROME1 is inverted; voxels of
// PixelPaddingValue get the smallest real value of the volume. Slices ascend along the normal (row
// direction x column direction), so the direction's determinant is +1.
absl::StatusOr<AssembledSeries> ReadVolume(const SortedVolume& sorted);

// The one volume of a series; of several, that whose SeriesReport::part is `part`. INVALID_ARGUMENT: as SortSeries; several volumes and no part named. NOT_FOUND: no such
// file, or no such part.
absl::StatusOr<AssembledSeries> AssembleSeries(const std::vector<std::string>& paths,
                                               absl::string_view part = "");

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_DICOM_SERIES_H_
