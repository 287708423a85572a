#include "coordinator/round/model_writer.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "aggregation/server_optimizer.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"
#include "proto/wire/tensor_map.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kBlockParameters = int64_t{1} << 20;
constexpr int kThreadsMax = 8;
constexpr size_t kBlocksAhead = 2;  // made or being made while one is written, beyond one a thread

wire::Metadata MetadataOf(const AggregationContext& context) {
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

aggregation::ServerOptimizerOptions OptionsOf(const OptimizerSpec& spec) {
  aggregation::ServerOptimizerOptions options;
  options.eta = spec.learning_rate;
  options.beta1 = spec.beta1;
  options.beta2 = spec.beta2;
  options.tau = spec.tau;
  options.optimizer = spec.name == "momentum"     ? aggregation::ServerOptimizer::kFedAvgM
                      : spec.name == "fedadagrad" ? aggregation::ServerOptimizer::kFedAdagrad
                      : spec.name == "fedadam"    ? aggregation::ServerOptimizer::kFedAdam
                      : spec.name == "fedyogi"    ? aggregation::ServerOptimizer::kFedYogi
                                                  : aggregation::ServerOptimizer::kFedAvg;
  return options;
}

// A stored file of float32 tensors, read as one run of values.
class StoredValues {
 public:
  static absl::StatusOr<std::unique_ptr<const StoredValues>> Open(ModelStore& models,
                                                                  const std::string& sha256) {
    CSL_ASSIGN_OR_RETURN(ModelReader reader, models.Open(sha256));
    const auto read = [&](uint64_t offset, char* out, size_t size) {
      return reader.ReadAt(offset, out, size);
    };
    CSL_ASSIGN_OR_RETURN(wire::SafetensorsHeader header,
                         wire::ReadSafetensorsHeader(read, reader.bytes()));
    return std::unique_ptr<const StoredValues>(
        new StoredValues(std::move(reader), std::move(header)));
  }
  const wire::TensorLayout& layout() const { return header_.layout; }
  int64_t count() const { return header_.layout.parameters(); }
  absl::Status Read(int64_t begin, std::vector<float>& values) const {
    return reader_.ReadAt(header_.data_offset + static_cast<uint64_t>(begin) * sizeof(float),
                          reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
  }

 private:
  StoredValues(ModelReader reader, wire::SafetensorsHeader header)
      : reader_(std::move(reader)), header_(std::move(header)) {}
  ModelReader reader_;
  wire::SafetensorsHeader header_;
};

// The server optimiser's moments of one parameter lie beside each other: [parameters, 1 or 2].
int64_t MomentsOf(const aggregation::ServerOptimizerOptions& options) {
  return (aggregation::UsesFirstMoment(options.optimizer) ? 1 : 0) +
         (aggregation::UsesSecondMoment(options.optimizer) ? 1 : 0);
}

wire::TensorLayout MomentsLayout(int64_t parameters, int64_t moments) {
  wire::TensorLayout layout;
  layout.tensors.push_back({"moments", {parameters, moments}});
  return layout;
}

// One block of the new model, and of what goes beside it.
class BlockMaker {
 public:
  struct Values {
    std::vector<float> model;
    std::vector<float> moments;  // interleaved; empty: the optimiser has none
  };
  BlockMaker(const UpdateCombiner& combiner, const aggregation::ServerOptimizerOptions& optimizer,
             int64_t begin, Values before)
      : combiner_(combiner), optimizer_(optimizer), begin_(begin), values_(std::move(before)) {}

  // Puts the new values where the old ones were.
  void Run() {
    status_ = Make();
    done_.Notify();
  }
  // After Run has come to its end, which it waits for.
  const absl::Status& status() {
    done_.WaitForNotification();
    return status_;
  }
  const Values& values() const { return values_; }
  double squares() const { return squares_; }  // of the change
  // Why the block could not be made: the task of the update that could not be read; empty: another.
  const std::string& lost() const { return lost_; }

 private:
  absl::Status Make() {
    std::vector<float> change(values_.model.size());
    CSL_RETURN_IF_ERROR(combiner_.Combine(begin_, absl::MakeSpan(change), lost_));
    for (const float value : change) squares_ += static_cast<double>(value) * value;
    CSL_RETURN_IF_ERROR(Step(change));
    return CheckFinite(values_.model);
  }

  absl::Status Step(absl::Span<const float> change) {
    const size_t size = change.size(), moments = values_.moments.size() / std::max<size_t>(1, size);
    const bool has_first = aggregation::UsesFirstMoment(optimizer_.optimizer);
    std::vector<float> m(has_first ? size : 0), v(moments > (has_first ? 1u : 0u) ? size : 0);
    for (size_t i = 0; i < m.size(); ++i) m[i] = values_.moments[i * moments];
    for (size_t i = 0; i < v.size(); ++i) v[i] = values_.moments[i * moments + moments - 1];
    CSL_RETURN_IF_ERROR(
        aggregation::ApplyServerOptimizer(optimizer_, change, absl::MakeSpan(values_.model),
                                          {.m = absl::MakeSpan(m), .v = absl::MakeSpan(v)}));
    for (size_t i = 0; i < m.size(); ++i) values_.moments[i * moments] = m[i];
    for (size_t i = 0; i < v.size(); ++i) values_.moments[i * moments + moments - 1] = v[i];
    return CheckFinite(values_.moments);
  }

  const UpdateCombiner& combiner_;
  const aggregation::ServerOptimizerOptions optimizer_;
  const int64_t begin_;
  Values values_;
  double squares_ = 0;
  absl::Status status_;
  std::string lost_;
  absl::Notification done_;
};

// The files of one round, written side by side from the front.
class ModelWriter {
 public:
  ModelWriter(const AggregationContext& context, ModelStore& models, ThreadPool& pool)
      : context_(context), models_(models), pool_(pool), optimizer_(OptionsOf(context.optimizer)) {}
  ~ModelWriter() { pool_.Wait(); }  // blocks that an error left unwritten still use the combiner

  absl::Status Open() {
    CSL_ASSIGN_OR_RETURN(base_, StoredValues::Open(models_, context_.base_sha256));
    if (base_->count() != context_.parameters) {
      return absl::DataLossError("the base model has another number of parameters");
    }
    if (!context_.optimizer_sha256.empty() && moments() > 0) {
      CSL_ASSIGN_OR_RETURN(moments_, StoredValues::Open(models_, context_.optimizer_sha256));
      if (moments_->count() != context_.parameters * moments()) {
        return absl::DataLossError("the server optimiser's state does not fit the model");
      }
    }
    if (!context_.control_sha256.empty()) {
      CSL_ASSIGN_OR_RETURN(control_, StoredValues::Open(models_, context_.control_sha256));
      if (control_->count() != context_.parameters) {
        return absl::DataLossError("the control variate does not fit the model");
      }
    }
    return absl::OkStatus();
  }

  // The model and the moments.
  absl::Status WriteModel(const UpdateCombiner& combiner, std::string& lost) {
    ChunkWriter model = models_.NewWriter();
    std::optional<ChunkWriter> state;
    CSL_RETURN_IF_ERROR(
        model.Append(wire::EncodeSafetensorsHeader(base_->layout(), MetadataOf(context_))));
    if (moments() > 0) {
      state.emplace(models_.NewWriter());
      CSL_RETURN_IF_ERROR(state->Append(wire::EncodeSafetensorsHeader(
          MomentsLayout(context_.parameters, moments()), MetadataOf(context_))));
    }
    double squares = 0;
    const auto take = [&](const BlockMaker& block) -> absl::Status {
      squares += block.squares();
      CSL_RETURN_IF_ERROR(model.Append(BytesOf(block.values().model)));
      return state ? state->Append(BytesOf(block.values().moments)) : absl::OkStatus();
    };
    CSL_RETURN_IF_ERROR(ForEachBlock(
        combiner, 0, context_.parameters, optimizer_,
        [&](int64_t begin, size_t size) { return Before(begin, size); }, take, lost));
    CSL_ASSIGN_OR_RETURN(ManifestRecord manifest, model.Finish());
    made_.model = {manifest.sha256, manifest.bytes, context_.parameters,
                   LayoutSha256(base_->layout())};
    made_.model.change_rms = std::sqrt(squares / static_cast<double>(context_.parameters));
    Keep(std::move(manifest), std::move(model));
    if (!state) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(ManifestRecord moments, state->Finish());
    made_.model.optimizer_sha256 = moments.sha256;
    made_.model.optimizer_bytes = moments.bytes;
    Keep(std::move(moments), *std::move(state));
    return absl::OkStatus();
  }

  // c <- c + |S|/N mean(dc_i): the same step with a rate of |S|/N (aggregation::ApplyScaffold).
  absl::Status WriteControl(const UpdateCombiner& combiner, int64_t sites, std::string& lost) {
    aggregation::ServerOptimizerOptions step;
    step.eta =
        static_cast<double>(sites) / static_cast<double>(std::max(sites, context_.population));
    ChunkWriter writer = models_.NewWriter();
    CSL_RETURN_IF_ERROR(
        writer.Append(wire::EncodeSafetensorsHeader(base_->layout(), MetadataOf(context_))));
    const auto old = [&](int64_t begin, size_t size) -> absl::StatusOr<BlockMaker::Values> {
      BlockMaker::Values before;
      before.model.resize(size);
      if (control_ == nullptr) return before;
      CSL_RETURN_IF_ERROR(control_->Read(begin - context_.parameters, before.model));
      return before;
    };
    const auto take = [&](const BlockMaker& block) {
      return writer.Append(BytesOf(block.values().model));
    };
    CSL_RETURN_IF_ERROR(ForEachBlock(combiner, context_.parameters, 2 * context_.parameters, step,
                                     old, take, lost));
    CSL_ASSIGN_OR_RETURN(ManifestRecord manifest, writer.Finish());
    made_.model.control_sha256 = manifest.sha256;
    made_.model.control_bytes = manifest.bytes;
    Keep(std::move(manifest), std::move(writer));
    return absl::OkStatus();
  }

  MadeModel Take() { return std::move(made_); }

 private:
  int64_t moments() const { return MomentsOf(optimizer_); }

  absl::StatusOr<BlockMaker::Values> Before(int64_t begin, size_t size) const {
    BlockMaker::Values before;
    before.model.resize(size);
    CSL_RETURN_IF_ERROR(base_->Read(begin, before.model));
    if (moments() == 0) return before;
    before.moments.resize(size * static_cast<size_t>(moments()));
    if (moments_ != nullptr) {
      CSL_RETURN_IF_ERROR(moments_->Read(begin * moments(), before.moments));
    } else if (aggregation::UsesSecondMoment(optimizer_.optimizer)) {
      const auto stride = static_cast<size_t>(moments());
      for (size_t i = stride - 1; i < before.moments.size(); i += stride) {
        before.moments[i] = aggregation::InitialSecondMoment(optimizer_);
      }
    }
    return before;
  }

  // Makes the blocks of [begin, end) on all threads, and takes them in order.
  template <typename GetBefore, typename TakeBlock>
  absl::Status ForEachBlock(const UpdateCombiner& combiner, int64_t begin, int64_t end,
                            const aggregation::ServerOptimizerOptions& optimizer, GetBefore before,
                            TakeBlock take, std::string& lost) {
    std::deque<std::shared_ptr<BlockMaker>> blocks;  // in the model's order; shared with the pool
    const size_t at_once = static_cast<size_t>(AggregationThreads()) + kBlocksAhead;
    for (int64_t at = begin; at < end || !blocks.empty();) {
      if (at < end && blocks.size() < at_once) {
        const int64_t stop = combiner.BlockEnd(at, std::min(at + kBlockParameters, end));
        CSL_ASSIGN_OR_RETURN(BlockMaker::Values values,
                             before(at, static_cast<size_t>(std::min(stop, end) - at)));
        blocks.push_back(std::make_shared<BlockMaker>(combiner, optimizer, at, std::move(values)));
        pool_.Schedule([block = blocks.back()] { block->Run(); });
        at = std::min(stop, end);
        continue;
      }
      const std::shared_ptr<BlockMaker> block = std::move(blocks.front());
      blocks.pop_front();
      if (const absl::Status made = block->status(); !made.ok()) {
        lost = block->lost();
        pool_.Wait();
        return made;
      }
      if (const absl::Status taken = take(*block); !taken.ok()) {
        pool_.Wait();
        return taken;
      }
    }
    return absl::OkStatus();
  }

  void Keep(ManifestRecord manifest, ChunkWriter writer) {
    made_.manifests.push_back(std::move(manifest));
    made_.hold.push_back(std::move(writer));
  }

  const AggregationContext& context_;
  ModelStore& models_;
  ThreadPool& pool_;
  const aggregation::ServerOptimizerOptions optimizer_;
  std::unique_ptr<const StoredValues> base_, moments_, control_;  // null: there is none yet
  MadeModel made_;
};

}  // namespace

int AggregationThreads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kThreadsMax);
}

absl::StatusOr<MadeModel> WriteFirstModel(const AggregationContext& context, const SealedPart& part,
                                          ModelStore& models, std::string& lost) {
  const wire::TensorLayout& layout = part.reader.header().layout;
  ChunkWriter writer = models.NewWriter();
  CSL_RETURN_IF_ERROR(writer.Append(wire::EncodeSafetensorsHeader(layout, MetadataOf(context))));
  std::vector<float> values;
  for (int64_t at = 0; at < part.reader.parameters(); at += static_cast<int64_t>(values.size())) {
    const int64_t end = std::min(at + kBlockParameters, part.reader.parameters());
    values.resize(static_cast<size_t>(part.reader.BlockEnd(at, end) - at));
    if (const absl::Status read = part.reader.Read(at, absl::MakeSpan(values)); !read.ok()) {
      lost = part.update.task_id;
      return read;
    }
    CSL_RETURN_IF_ERROR(CheckFinite(values));
    CSL_RETURN_IF_ERROR(writer.Append(BytesOf(values)));
  }
  MadeModel made;
  CSL_ASSIGN_OR_RETURN(ManifestRecord manifest, writer.Finish());
  made.model = {manifest.sha256, manifest.bytes, layout.parameters(), LayoutSha256(layout)};
  made.manifests.push_back(std::move(manifest));
  made.hold.push_back(std::move(writer));
  return made;
}

absl::StatusOr<MadeModel> WriteNextModel(const AggregationContext& context,
                                         const UpdateCombiner& combiner, int64_t sites,
                                         ModelStore& models, ThreadPool& pool, std::string& lost) {
  ModelWriter writer(context, models, pool);
  CSL_RETURN_IF_ERROR(writer.Open());
  CSL_RETURN_IF_ERROR(writer.WriteModel(combiner, lost));
  if (context.scaffold) CSL_RETURN_IF_ERROR(writer.WriteControl(combiner, sites, lost));
  MadeModel made = writer.Take();
  made.model.masked_sums = combiner.sums();
  for (UpdateCombiner::Outvoted& one : combiner.outvoted()) {
    made.model.outvoted.emplace_back(std::move(one.site), std::move(one.reason));
  }
  return made;
}

}  // namespace consilium::coordinator
