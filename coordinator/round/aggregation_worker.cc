#include "coordinator/round/aggregation_worker.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// The round that the site knows its update by: a buffer also takes updates of earlier tasks.
int64_t RoundOf(const AggregationWorker::Context& context, const FoldUpdate& update) {
  return update.task_round == 0 ? context.round : update.task_round;
}

}  // namespace

AggregationWorker::AggregationWorker(std::string federation, const privacy::HpkeKeyPair& key,
                                     const Staging& staging, ModelStore& models)
    : federation_(std::move(federation)),
      key_(key),
      staging_(staging),
      models_(models),
      pool_(AggregationThreads()) {}

privacy::SealContext AggregationWorker::SealOf(const Context& context,
                                               const FoldUpdate& update) const {
  return {.federation = federation_,
          .study = context.study,
          .round = RoundOf(context, update),
          .site = update.site,
          .task_id = update.task_id};
}

std::string AggregationWorker::PathOf(const Context& context, const FoldUpdate& update) const {
  return staging_.Path(context.study, RoundOf(context, update), update.upload_id);
}

absl::StatusOr<SealedPart> AggregationWorker::OpenSealed(const Context& context,
                                                         const FoldUpdate& update) const {
  CSL_ASSIGN_OR_RETURN(UpdateReader reader,
                       UpdateReader::Open(PathOf(context, update), key_, SealOf(context, update)));
  const int64_t parameters = context.parameters * (context.scaffold ? 2 : 1);
  if (context.round > 0 && reader.parameters() != parameters) {
    return absl::DataLossError("a stored update no longer fits the model");
  }
  return SealedPart{update, std::move(reader)};
}

absl::StatusOr<MaskedPart> AggregationWorker::OpenMasked(const Context& context,
                                                         const MaskedSum& sum,
                                                         const FoldUpdate& update) const {
  CSL_ASSIGN_OR_RETURN(MaskedReader reader,
                       MaskedReader::Open(PathOf(context, update), key_, SealOf(context, update),
                                          {.session_id = sum.session_id,
                                           .bits = static_cast<uint32_t>(context.masked_bits),
                                           .words = sum.quantiser.words()}));
  return MaskedPart{update.task_id, std::move(reader)};
}

absl::StatusOr<MadeModel> AggregationWorker::MakeSealed(const Context& context,
                                                        const std::vector<SealedPart>& parts,
                                                        std::string& lost) {
  if (context.round == 0) return WriteFirstModel(context, parts.front(), models_, lost);
  const auto sites = static_cast<int64_t>(parts.size());
  if (context.rule.name == "mean")
    return WriteNextModel(context, *CombineByMean(parts), sites, models_, pool_, lost);
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<UpdateCombiner> combiner,
                       CombineByRule(context.rule, parts, pool_, lost));
  return WriteNextModel(context, *combiner, sites, models_, pool_, lost);
}

absl::StatusOr<MadeModel> AggregationWorker::MakeMasked(const Context& context,
                                                        const std::vector<MaskedGroup>& groups,
                                                        std::string& lost) {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<UpdateCombiner> combiner, CombineMasked(groups, lost));
  int64_t sites = 0;
  for (const MaskedGroup& group : groups) sites += static_cast<int64_t>(group.parts.size());
  return WriteNextModel(context, *combiner, sites, models_, pool_, lost);
}

absl::StatusOr<std::variant<MadeModel, LostUpdates>> AggregationWorker::Aggregate(
    const Context& context, const std::vector<FoldUpdate>& accepted) {
  if (accepted.empty()) return absl::FailedPreconditionError("no update was accepted");
  LostUpdates lost;
  // Whether the round can go on with the next update; a missing one is noted.
  const auto note = [&](const absl::Status& opened, const FoldUpdate& update) {
    if (opened.ok()) return true;
    if (absl::IsResourceExhausted(opened)) return false;  // too many files are open
    lost.task_ids.push_back(update.task_id);
    return true;
  };
  std::vector<SealedPart> parts;
  std::vector<MaskedGroup> groups;
  if (context.sums == nullptr) {
    for (const FoldUpdate& update : accepted) {
      absl::StatusOr<SealedPart> part = OpenSealed(context, update);
      if (!note(part.status(), update)) return part.status();
      if (part.ok()) parts.push_back(*std::move(part));
    }
  } else {
    for (const MaskedSum& sum : *context.sums) {
      MaskedGroup& group = groups.emplace_back();
      group.sum = &sum;
      for (const FoldUpdate& update : accepted) {
        if (!std::binary_search(sum.sites.begin(), sum.sites.end(), update.site)) continue;
        absl::StatusOr<MaskedPart> part = OpenMasked(context, sum, update);
        if (!note(part.status(), update)) return part.status();
        if (part.ok()) group.parts.push_back(*std::move(part));
      }
      if (lost.task_ids.empty() && group.parts.size() != sum.sites.size()) {
        return absl::FailedPreconditionError("an update whose masks were opened is not there");
      }
    }
  }
  if (!lost.task_ids.empty()) return lost;
  std::string lost_task;
  absl::StatusOr<MadeModel> made = context.sums == nullptr ? MakeSealed(context, parts, lost_task)
                                                           : MakeMasked(context, groups, lost_task);
  if (!lost_task.empty()) return LostUpdates{{lost_task}};
  CSL_RETURN_IF_ERROR(made.status());
  return *std::move(made);
}

}  // namespace consilium::coordinator
