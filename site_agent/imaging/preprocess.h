// The one path from a volume to what the network sees, and back: used by training, evaluation and
// inference alike.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_PREPROCESS_H_
#define CONSILIUM_SITE_AGENT_IMAGING_PREPROCESS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// Grid of the plan's spacing over `source`: axes permuted and flipped to the nearest LPS axes, then
// resampled so that the volume's edges coincide (voxel centres, align_corners = false). An oblique
// volume keeps its obliqueness. Where the spacing does not divide the volume's extent, the size is
// rounded and the grid's spacing is the extent divided by it.
Geometry PlanGrid(const Geometry& source, const std::array<double, 3>& spacing_xyz_mm);

// Linear interpolation, border values repeated.
Volume ResampleImage(const Volume& source, const Geometry& target);
// Linear interpolation of each label's indicator, then the largest (ties: the lower label).
LabelVolume ResampleLabel(const LabelVolume& source, const Geometry& target);

// As ResampleImage, where the target's voxel centres lie in the source's box; the other voxels are
// `outside`. `covered` becomes 1 or 0 by voxel.
Volume ResampleCovered(const Volume& source, const Geometry& target, float outside,
                       std::vector<uint8_t>& covered);
// How much of the target's box the source's covers, 0 to 1, measured at 32 x 32 x 32 points.
double CoveredPart(const Geometry& source, const Geometry& target);

// INVALID_ARGUMENT: none, or one that is not finite.
absl::Status CheckVoxels(const Volume& source);

// PlanGrid, ResampleImage, and the plan's normalisation (proto/wire/normalisation.h) over all voxels.
// INVALID_ARGUMENT: a voxel is not finite, or all are equal.
absl::StatusOr<Volume> PrepareImage(const Volume& source, const wire::Plan& plan);

// Class probabilities [classes][D][H][W] on `grid`, interpolated linearly to `source`, then the
// most probable class.
LabelVolume RestoreLabels(const std::vector<float>& probabilities, int64_t classes,
                          const Geometry& grid, const Geometry& source);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_PREPROCESS_H_
