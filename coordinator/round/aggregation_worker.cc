#include "coordinator/round/aggregation_worker.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/round/update_reader.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kBlockParameters = 1 << 18;  // of the new model, in memory at a time

// The round that the site knows its update by: a buffer also takes updates of earlier tasks.
int64_t RoundOf(const AggregationWorker::Context& context, const FoldUpdate& update) {
  return update.task_round == 0 ? context.round : update.task_round;
}

wire::Metadata MetadataOf(const AggregationWorker::Context& context) {
  return {{"format", "pt"},
          {wire::kPlanMetadataKey, context.plan_json},
          {wire::kVersionMetadataKey, absl::StrCat(context.study, "/", context.round)}};
}

}  // namespace

privacy::SealContext AggregationWorker::SealOf(const Context& context,
                                               const FoldUpdate& update) const {
  return {.federation = federation_,
          .study = context.study,
          .round = RoundOf(context, update),
          .site = update.site,
          .task_id = update.task_id};
}

absl::Status AggregationWorker::Fold(const Context& context, const FoldUpdate& update) {
  const auto it = sums_.find(context.study);
  if (it == sums_.end() || it->second.round != context.round) {
    sums_.insert_or_assign(
        context.study,
        Sum{context.round, aggregation::WeightedMean(context.parameters), FoldUpdate{}, {}});
  }
  Sum& sum = sums_.at(context.study);
  sum.folded.push_back(update.upload_id);  // a fold that fails is forgotten with the whole sum
  if (context.round == 0) {
    sum.first = update;
    return absl::OkStatus();
  }
  CSL_ASSIGN_OR_RETURN(
      UpdateReader reader,
      UpdateReader::Open(
          staging_.Path(context.study, RoundOf(context, update), update.upload_id), key_,
          SealOf(context, update)));
  // It was checked when it was accepted. A difference now is damage of the stored bytes.
  if (reader.header().layout.parameters() != sum.mean.parameters()) {
    return absl::DataLossError("a stored update no longer fits the model");
  }
  CSL_RETURN_IF_ERROR(sum.mean.Begin(update.weight));
  if (update.idle_weight > 0) CSL_RETURN_IF_ERROR(sum.mean.AddIdle(update.idle_weight));
  return reader.ForEachBlock([&](int64_t offset, absl::Span<const float> values) {
    CSL_RETURN_IF_ERROR(aggregation::CheckUpdateValues(values));
    sum.mean.Fold(offset, values);
    return absl::OkStatus();
  });
}

absl::StatusOr<wire::TensorMap> AggregationWorker::ReadFirst(const Context& context,
                                                             const Sum& sum) const {
  CSL_ASSIGN_OR_RETURN(
      UpdateReader reader,
      UpdateReader::Open(staging_.Path(context.study, 0, sum.first.upload_id), key_,
                         SealOf(context, sum.first)));
  wire::TensorMap map;
  map.layout = reader.header().layout;
  map.values.resize(static_cast<size_t>(map.layout.parameters()));
  CSL_RETURN_IF_ERROR(reader.ForEachBlock([&](int64_t offset, absl::Span<const float> values) {
    std::copy(values.begin(), values.end(), map.values.begin() + offset);
    return absl::OkStatus();
  }));
  return map;
}

absl::StatusOr<wire::TensorLayout> AggregationWorker::WriteFirst(const Context& context,
                                                                 const Sum& sum,
                                                                 ChunkWriter& writer) const {
  CSL_ASSIGN_OR_RETURN(const wire::TensorMap map, ReadFirst(context, sum));
  CSL_RETURN_IF_ERROR(wire::CheckFinite(map));
  CSL_RETURN_IF_ERROR(
      wire::WriteSafetensors([&](absl::string_view data) { return writer.Append(data); }, map,
                             MetadataOf(context)));
  return map.layout;
}

absl::StatusOr<wire::TensorLayout> AggregationWorker::WriteBasePlusMean(const Context& context,
                                                                        const Sum& sum,
                                                                        ChunkWriter& writer) const {
  CSL_ASSIGN_OR_RETURN(const ModelReader reader, models_.Open(context.base_sha256));
  CSL_ASSIGN_OR_RETURN(
      wire::SafetensorsHeader header,
      wire::ReadSafetensorsHeader([&](uint64_t offset, char* out,
                                      size_t size) { return reader.ReadAt(offset, out, size); },
                                  reader.bytes()));
  const int64_t parameters = header.layout.parameters();
  if (parameters != sum.mean.parameters()) {
    return absl::DataLossError("the base model has another number of parameters");
  }
  CSL_RETURN_IF_ERROR(
      writer.Append(wire::EncodeSafetensorsHeader(header.layout, MetadataOf(context))));
  std::vector<float> block;
  for (int64_t at = 0; at < parameters; at += static_cast<int64_t>(block.size())) {
    block.resize(static_cast<size_t>(std::min(kBlockParameters, parameters - at)));
    char* const bytes = reinterpret_cast<char*>(block.data());
    const size_t size = block.size() * sizeof(float);
    CSL_RETURN_IF_ERROR(reader.ReadAt(
        header.data_offset + static_cast<uint64_t>(at) * sizeof(float), bytes, size));
    CSL_RETURN_IF_ERROR(sum.mean.AddMeanTo(at, absl::MakeSpan(block)));
    for (const float value : block) {
      if (!std::isfinite(value)) {
        return absl::InvalidArgumentError("the new model has a value that is not finite");
      }
    }
    CSL_RETURN_IF_ERROR(writer.Append({bytes, size}));
  }
  return std::move(header.layout);
}

void AggregationWorker::Forget(const std::string& study, int64_t round) {
  const auto it = sums_.find(study);
  if (it != sums_.end() && it->second.round == round) sums_.erase(it);
}

bool AggregationWorker::IsSumOf(const Context& context,
                                const std::vector<FoldUpdate>& accepted) const {
  const auto it = sums_.find(context.study);
  if (it == sums_.end() || it->second.round != context.round) return false;
  std::vector<std::string> folded = it->second.folded, wanted;
  for (const FoldUpdate& update : accepted) wanted.push_back(update.upload_id);
  std::sort(folded.begin(), folded.end());
  std::sort(wanted.begin(), wanted.end());
  return folded == wanted;
}

absl::StatusOr<MadeModel> AggregationWorker::Aggregate(const Context& context,
                                                       const std::vector<FoldUpdate>& accepted) {
  if (!IsSumOf(context, accepted)) {
    Forget(context.study, context.round);
    for (const FoldUpdate& update : accepted) {
      if (const absl::Status folded = Fold(context, update); !folded.ok()) {
        Forget(context.study, context.round);
        return folded;
      }
    }
  }
  const auto it = sums_.find(context.study);
  if (it == sums_.end() || it->second.round != context.round) {
    return absl::InternalError("nothing was folded for this round");
  }
  ChunkWriter writer = models_.NewWriter();
  const absl::StatusOr<wire::TensorLayout> layout =
      context.round == 0 ? WriteFirst(context, it->second, writer)
                         : WriteBasePlusMean(context, it->second, writer);
  sums_.erase(it);
  CSL_RETURN_IF_ERROR(layout.status());
  CSL_ASSIGN_OR_RETURN(ManifestRecord manifest, writer.Finish());
  NewModel model = {manifest.sha256, manifest.bytes, layout->parameters(), LayoutSha256(*layout)};
  return MadeModel{std::move(model), std::move(manifest), std::move(writer)};
}

}  // namespace consilium::coordinator
