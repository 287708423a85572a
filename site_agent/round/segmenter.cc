#include "site_agent/round/segmenter.h"

#include "absl/strings/string_view.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"
#include "site_agent/imaging/channels.h"
#include "site_agent/imaging/preprocess.h"
#include "site_agent/plan_config.h"
#include "site_agent/round/train_step.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

constexpr size_t kVersionBytesMax = 128;

bool IsPrintable(absl::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c > 0x7e) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Segmenter> Segmenter::Load(const std::string& model_path,
                                          const ComputeOptions& compute) {
  CSL_ASSIGN_OR_RETURN(const wire::SafetensorsHeader header,
                       wire::ReadSafetensorsHeader(model_path));
  const auto plan_json = header.metadata.find(wire::kPlanMetadataKey);
  if (plan_json == header.metadata.end()) {
    return absl::InvalidArgumentError(
        "the model file has no plan in its metadata: it was not exported by Consilium");
  }
  CSL_ASSIGN_OR_RETURN(const wire::Plan plan, wire::PlanFromJson(plan_json->second));
  CSL_ASSIGN_OR_RETURN(Segmenter segmenter, LoadWithPlan(model_path, plan, compute));
  const auto version = header.metadata.find(wire::kVersionMetadataKey);
  if (version != header.metadata.end() && version->second.size() <= kVersionBytesMax &&
      IsPrintable(version->second)) {
    segmenter.version_ = version->second;
  }
  return segmenter;
}

absl::StatusOr<Segmenter> Segmenter::LoadWithPlan(
    const std::string& model_path, const wire::Plan& plan, const ComputeOptions& compute,
    const std::vector<training::NamedArray>& own) {
  CSL_ASSIGN_OR_RETURN(std::string sha256, privacy::Sha256HexOfFile(model_path));
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsFile file, wire::ReadSafetensors(model_path));
  CSL_RETURN_IF_ERROR(wire::CheckFinite(file.map));
  CSL_ASSIGN_OR_RETURN(auto session, MakeSession(SessionOptionsFor(plan, compute)));
  auto weights = ArraysFromTensorMap(std::move(file.map));
  CSL_RETURN_IF_ERROR(own.empty() ? ImportWeights(*session, std::move(weights))
                                  : ImportGlobal(*session, std::move(weights), own));
  Segmenter segmenter(std::move(session), plan);
  segmenter.sha256_ = std::move(sha256);
  return segmenter;
}

absl::StatusOr<Segmenter> Segmenter::FromWeights(std::vector<training::NamedArray> weights,
                                                 const wire::Plan& plan,
                                                 const ComputeOptions& compute) {
  CSL_ASSIGN_OR_RETURN(auto session, MakeSession(SessionOptionsFor(plan, compute)));
  CSL_RETURN_IF_ERROR(ImportWeights(*session, std::move(weights)));
  return Segmenter(std::move(session), plan);
}

absl::StatusOr<imaging::LabelVolume> Segmenter::Segment(
    const std::vector<imaging::Volume>& channels) {
  CSL_ASSIGN_OR_RETURN(imaging::PreparedImage prepared, imaging::PrepareChannels(channels, plan_));
  return SegmentPrepared(std::move(prepared.voxels), prepared.grid, channels[0].geometry);
}

absl::StatusOr<imaging::LabelVolume> Segmenter::SegmentPrepared(std::vector<float> prepared,
                                                                const imaging::Geometry& grid,
                                                                const imaging::Geometry& source) {
  training::Case volume;
  volume.size = DhwFromXyz(grid.size_xyz);
  volume.image = std::move(prepared);
  CSL_ASSIGN_OR_RETURN(const std::vector<float> probabilities,
                       PredictVolume(*session_, volume, moved_));
  return imaging::RestoreLabels(probabilities, plan_.classes(), grid, source);
}

}  // namespace consilium::agent
