// Several volumes of one frame of reference as the input channels of one case. With one volume it
// is PrepareImage, to the bit.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_CHANNELS_H_
#define CONSILIUM_SITE_AGENT_IMAGING_CHANNELS_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/imaging/pet_facts.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// [C][D][H][W] on `grid`, which is PlanGrid of the first volume.
struct PreparedImage {
  Geometry grid;
  std::vector<float> voxels;
};

// Brings a channel's voxels to the unit that its normalisation asks for: `facts` are those of the
// series. INVALID_ARGUMENT: it asks for SUV and they give none; the words say why.
absl::Status ConvertUnit(const wire::Plan& plan, size_t channel, const PetFacts& facts,
                         Volume& volume);

// INVALID_ARGUMENT: a further channel covers less than plan.coverage_min of the first one's volume.
absl::Status CheckCoverage(const std::vector<Geometry>& channels, const wire::Plan& plan);

// The first as PrepareImage. Each further one is brought onto its grid by linear interpolation and
// normalised over the voxels that it covers; the others get what its smallest intensity becomes, as
// padding does. No registration: the volumes have to be of one frame of reference.
// INVALID_ARGUMENT: not as many volumes as the plan has channels, a voxel is not finite, all voxels
// of one are equal, CheckCoverage.
absl::StatusOr<PreparedImage> PrepareChannels(const std::vector<Volume>& sources,
                                              const wire::Plan& plan);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_CHANNELS_H_
