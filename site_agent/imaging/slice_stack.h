// Slices in any order in, the stack that they form in the patient out, or the reason why not.
// Pure: reads no file.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SLICE_STACK_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SLICE_STACK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "site_agent/imaging/series_report.h"
#include "site_agent/imaging/slice_reader.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// What is allowed; fractions of the step between slices unless said otherwise.
inline constexpr double kGapTolerance = 0.01;
inline constexpr double kSamePositionTolerance = 0.1;
inline constexpr double kDirectionTolerance = 1e-3;  // of a unit vector's component

struct SliceStack {
  // By position along the normal; the slices of one position stand together.
  std::vector<std::vector<Slice>> positions;
  std::array<double, 9> direction = {};  // columns: along a row, along a column, normal
};

struct StackGeometry {
  Geometry geometry;
  double step_spread_mm = 0;  // the largest difference of a gap from the step
};

// Takes localizers out of `slices`: by ImageType, or where they are few and look another way; adds
// them to `aside`. INVALID_ARGUMENT: a slice without its place in the patient, or several
// orientations of which none is plainly that of the series.
absl::Status SetLocalizersAside(std::vector<Slice>& slices, std::vector<SetAside>& aside);

// Demands one modality, matrix, pixel spacing, photometric interpretation and frame of reference,
// and orders by position. `slices` is what SetLocalizersAside left, or a part of it; not empty.
absl::StatusOr<SliceStack> StackSlices(std::vector<Slice> slices);

// The geometry of one slice per position, in order. INVALID_ARGUMENT: a missing slice, unequal
// gaps, tilt, a single slice. RESOURCE_EXHAUSTED: more than 2^31 voxels.
absl::StatusOr<StackGeometry> MeasureStack(const std::vector<Slice>& ordered,
                                           const std::array<double, 9>& direction);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SLICE_STACK_H_
