#include "coordinator/round/aggregation_worker.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "aggregation/weighted_mean.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kBlockParameters = int64_t{1} << 20;
constexpr int kThreadsMax = 8;
constexpr size_t kBlocksAhead = 2;  // made or being made while one is written, beyond one a thread

int Threads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kThreadsMax);
}

// The round that the site knows its update by: a buffer also takes updates of earlier tasks.
int64_t RoundOf(const AggregationWorker::Context& context, const FoldUpdate& update) {
  return update.task_round == 0 ? context.round : update.task_round;
}

wire::Metadata MetadataOf(const AggregationWorker::Context& context) {
  return {{"format", "pt"},
          {wire::kPlanMetadataKey, context.plan_json},
          {wire::kVersionMetadataKey, absl::StrCat(context.study, "/", context.round)}};
}

absl::Status CheckFinite(absl::Span<const float> values) {
  const bool finite =
      std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
  return finite ? absl::OkStatus()
                : absl::InvalidArgumentError("the new model has a value that is not finite");
}

absl::string_view BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// Where the block that begins at `begin` ends: with a piece of the updates, which mostly have their
// pieces at the same places.
int64_t BlockEnd(const UpdateReader& reader, int64_t begin) {
  return reader.BlockEnd(begin, std::min(begin + kBlockParameters, reader.parameters()));
}

}  // namespace

// One block of the new model.
class AggregationWorker::BlockMaker {
 public:
  BlockMaker(const std::vector<Part>& parts, int64_t begin, std::vector<float> base)
      : parts_(parts), begin_(begin), values_(std::move(base)) {}

  // Puts base + mean where the base was.
  void Run() {
    status_ = Make();
    done_.Notify();
  }
  // After Run has come to its end, which it waits for.
  const absl::Status& status() {
    done_.WaitForNotification();
    return status_;
  }
  const std::vector<float>& values() const { return values_; }
  // Why the block could not be made: the task of the update that could not be read; empty: another.
  const std::string& lost() const { return lost_; }

 private:
  absl::Status Make() {
    aggregation::WeightedMean mean(static_cast<int64_t>(values_.size()));
    std::vector<float> delta(values_.size());
    for (const Part& part : parts_) {
      absl::Status read = part.reader.Read(begin_, absl::MakeSpan(delta));
      if (read.ok()) read = aggregation::CheckUpdateValues(delta);
      if (!read.ok()) {
        lost_ = part.update.task_id;
        return read;
      }
      CSL_RETURN_IF_ERROR(mean.Begin(part.update.weight));
      if (part.update.idle_weight > 0) CSL_RETURN_IF_ERROR(mean.AddIdle(part.update.idle_weight));
      mean.Fold(0, delta);
    }
    CSL_RETURN_IF_ERROR(mean.AddMeanTo(absl::MakeSpan(values_)));
    return CheckFinite(values_);
  }

  const std::vector<Part>& parts_;
  const int64_t begin_;
  std::vector<float> values_;
  absl::Status status_;
  std::string lost_;
  absl::Notification done_;
};

AggregationWorker::AggregationWorker(std::string federation, const privacy::HpkeKeyPair& key,
                                     const Staging& staging, ModelStore& models)
    : federation_(std::move(federation)),
      key_(key),
      staging_(staging),
      models_(models),
      pool_(Threads()) {}

privacy::SealContext AggregationWorker::SealOf(const Context& context,
                                               const FoldUpdate& update) const {
  return {.federation = federation_,
          .study = context.study,
          .round = RoundOf(context, update),
          .site = update.site,
          .task_id = update.task_id};
}

absl::StatusOr<AggregationWorker::Part> AggregationWorker::OpenPart(
    const Context& context, const FoldUpdate& update) const {
  CSL_ASSIGN_OR_RETURN(
      UpdateReader reader,
      UpdateReader::Open(staging_.Path(context.study, RoundOf(context, update), update.upload_id),
                         key_, SealOf(context, update)));
  if (context.round > 0 && reader.parameters() != context.parameters) {
    return absl::DataLossError("a stored update no longer fits the model");
  }
  return Part{update, std::move(reader)};
}

absl::StatusOr<wire::TensorLayout> AggregationWorker::WriteFirst(const Context& context,
                                                                 const Part& part,
                                                                 LostUpdates& lost,
                                                                 ChunkWriter& writer) const {
  const wire::TensorLayout& layout = part.reader.header().layout;
  CSL_RETURN_IF_ERROR(writer.Append(wire::EncodeSafetensorsHeader(layout, MetadataOf(context))));
  std::vector<float> values;
  for (int64_t at = 0; at < part.reader.parameters(); at += static_cast<int64_t>(values.size())) {
    values.resize(static_cast<size_t>(BlockEnd(part.reader, at) - at));
    if (const absl::Status read = part.reader.Read(at, absl::MakeSpan(values)); !read.ok()) {
      lost.task_ids.push_back(part.update.task_id);
      return read;
    }
    CSL_RETURN_IF_ERROR(CheckFinite(values));
    CSL_RETURN_IF_ERROR(writer.Append(BytesOf(values)));
  }
  return layout;
}

absl::StatusOr<wire::TensorLayout> AggregationWorker::WriteBasePlusMean(
    const Context& context, const std::vector<Part>& parts, LostUpdates& lost,
    ChunkWriter& writer) {
  CSL_ASSIGN_OR_RETURN(const ModelReader base, models_.Open(context.base_sha256));
  const auto read = [&](uint64_t offset, char* out, size_t size) {
    return base.ReadAt(offset, out, size);
  };
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsHeader header,
                       wire::ReadSafetensorsHeader(read, base.bytes()));
  const int64_t parameters = header.layout.parameters();
  if (parameters != context.parameters) {
    return absl::DataLossError("the base model has another number of parameters");
  }
  CSL_RETURN_IF_ERROR(
      writer.Append(wire::EncodeSafetensorsHeader(header.layout, MetadataOf(context))));

  std::deque<std::shared_ptr<BlockMaker>> blocks;  // in the model's order; shared with pool_
  const size_t at_once = static_cast<size_t>(Threads()) + kBlocksAhead;
  for (int64_t at = 0; at < parameters || !blocks.empty();) {
    if (at < parameters && blocks.size() < at_once) {
      const int64_t end = BlockEnd(parts.front().reader, at);
      std::vector<float> values(static_cast<size_t>(end - at));
      CSL_RETURN_IF_ERROR(read(header.data_offset + static_cast<uint64_t>(at) * sizeof(float),
                               reinterpret_cast<char*>(values.data()),
                               values.size() * sizeof(float)));
      blocks.push_back(std::make_shared<BlockMaker>(parts, at, std::move(values)));
      pool_.Schedule([block = blocks.back()] { block->Run(); });
      at = end;
      continue;
    }
    const std::shared_ptr<BlockMaker> block = std::move(blocks.front());
    blocks.pop_front();
    if (!block->status().ok()) {
      if (!block->lost().empty()) lost.task_ids.push_back(block->lost());
      return block->status();
    }
    CSL_RETURN_IF_ERROR(writer.Append(BytesOf(block->values())));
  }
  return std::move(header.layout);
}

absl::StatusOr<std::variant<MadeModel, LostUpdates>> AggregationWorker::Aggregate(
    const Context& context, const std::vector<FoldUpdate>& accepted) {
  if (accepted.empty()) return absl::FailedPreconditionError("no update was accepted");
  LostUpdates lost;
  std::vector<Part> parts;
  for (const FoldUpdate& update : accepted) {
    absl::StatusOr<Part> part = OpenPart(context, update);
    if (part.ok()) {
      parts.push_back(*std::move(part));
    } else if (absl::IsResourceExhausted(part.status())) {
      return part.status();  // too many files are open: the update is as it was
    } else {
      lost.task_ids.push_back(update.task_id);
    }
  }
  if (!lost.task_ids.empty()) return lost;
  ChunkWriter writer = models_.NewWriter();
  const absl::StatusOr<wire::TensorLayout> layout =
      context.round == 0 ? WriteFirst(context, parts.front(), lost, writer)
                         : WriteBasePlusMean(context, parts, lost, writer);
  pool_.Wait();  // blocks that an error left unwritten still read from `parts`
  if (!lost.task_ids.empty()) return lost;
  CSL_RETURN_IF_ERROR(layout.status());
  CSL_ASSIGN_OR_RETURN(ManifestRecord manifest, writer.Finish());
  NewModel model = {manifest.sha256, manifest.bytes, layout->parameters(), LayoutSha256(*layout)};
  return MadeModel{std::move(model), std::move(manifest), std::move(writer)};
}

}  // namespace consilium::coordinator
