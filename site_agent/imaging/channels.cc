#include "site_agent/imaging/channels.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "proto/wire/normalisation.h"
#include "site_agent/imaging/intensity.h"
#include "site_agent/imaging/preprocess.h"

namespace consilium::imaging {
namespace {

const std::string& NormalisationOf(const wire::Plan& plan, size_t channel) {
  return channel == 0 ? plan.normalisation : plan.channels[channel - 1].normalisation;
}

// Counted from 1, as people do.
absl::Status About(size_t channel, absl::string_view words) {
  return absl::InvalidArgumentError(absl::StrCat("channel ", channel + 1, ": ", words));
}

absl::Status CheckCount(size_t volumes, const wire::Plan& plan) {
  if (volumes == plan.channels.size() + 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(volumes, " images for a plan of ", plan.channels.size() + 1, " channels"));
}

absl::StatusOr<std::vector<float>> PrepareFurther(const Volume& source, const Geometry& grid,
                                                  const std::string& text) {
  CSL_ASSIGN_OR_RETURN(const wire::Normalisation normalisation, wire::ParseNormalisation(text));
  CSL_RETURN_IF_ERROR(CheckVoxels(source));
  const float darkest = *std::min_element(source.voxels.begin(), source.voxels.end());
  std::vector<uint8_t> covered;
  std::vector<float> voxels = ResampleCovered(source, grid, darkest, covered).voxels;
  CutToWindow(normalisation, voxels);
  std::vector<float> seen;
  for (size_t i = 0; i < voxels.size(); ++i) {
    if (covered[i] != 0) seen.push_back(voxels[i]);
  }
  if (seen.empty()) return absl::InvalidArgumentError("covers no voxel of the first");
  CSL_ASSIGN_OR_RETURN(const IntensityScale scale, IntensityScale::Fit(normalisation, seen));
  scale.Apply(voxels);
  return voxels;
}

}  // namespace

absl::Status ConvertUnit(const wire::Plan& plan, size_t channel, const PetFacts& facts,
                         Volume& volume) {
  CSL_ASSIGN_OR_RETURN(const wire::Normalisation normalisation,
                       wire::ParseNormalisation(NormalisationOf(plan, channel)));
  if (normalisation.unit == wire::Normalisation::Unit::kOfSeries) return absl::OkStatus();
  if (!(facts.suv_factor > 0)) return About(channel, absl::StrCat("no SUV: ", facts.suv_refusal));
  for (float& voxel : volume.voxels) voxel = static_cast<float>(voxel * facts.suv_factor);
  return absl::OkStatus();
}

absl::Status CheckCoverage(const std::vector<Geometry>& channels, const wire::Plan& plan) {
  for (size_t c = 1; c < channels.size(); ++c) {
    if (CoveredPart(channels[c], channels[0]) >= plan.coverage_min) continue;
    return About(c, absl::StrCat("covers less than ", plan.coverage_min, " of channel 1"));
  }
  return absl::OkStatus();
}

absl::StatusOr<PreparedImage> PrepareChannels(const std::vector<Volume>& sources,
                                              const wire::Plan& plan) {
  CSL_RETURN_IF_ERROR(CheckCount(sources.size(), plan));
  std::vector<Geometry> geometries;
  for (const Volume& source : sources) geometries.push_back(source.geometry);
  CSL_RETURN_IF_ERROR(CheckCoverage(geometries, plan));
  CSL_ASSIGN_OR_RETURN(Volume first, PrepareImage(sources[0], plan));
  PreparedImage prepared{first.geometry, std::move(first.voxels)};
  for (size_t c = 1; c < sources.size(); ++c) {
    absl::StatusOr<std::vector<float>> voxels =
        PrepareFurther(sources[c], prepared.grid, NormalisationOf(plan, c));
    if (!voxels.ok()) return About(c, voxels.status().message());
    prepared.voxels.insert(prepared.voxels.end(), voxels->begin(), voxels->end());
  }
  return prepared;
}

}  // namespace consilium::imaging
