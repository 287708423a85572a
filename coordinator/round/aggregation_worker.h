// Folds accepted updates as they come and makes the next model: the only part of a round that does
// long work. It runs on one thread of its own; the driver queues calls in the round's order.
//
// Memory: 8 bytes a parameter for each study with an open round.
// Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_
#define CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/weighted_mean.h"
#include "coordinator/round/study_run.h"
#include "coordinator/round/upload.h"
#include "coordinator/store/model_store.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "proto/wire/tensor_map.h"

namespace consilium::coordinator {

// Its chunks are durable; they are safe from collection until it is destroyed, so commit before.
struct MadeModel {
  NewModel model;
  ManifestRecord manifest;
  ChunkWriter hold;
};

class AggregationWorker {
 public:
  // What a round's work needs to know of its study.
  struct Context {
    std::string study;
    int64_t round = 0;
    int64_t parameters = 0;  // of the base model; unknown (0) in round 0
    std::string base_sha256;  // empty in round 0
    std::string plan_json;
  };
  // All must outlive the worker.
  AggregationWorker(std::string federation, const privacy::HpkeKeyPair& key,
                    const Staging& staging, ModelStore& models)
      : federation_(std::move(federation)), key_(key), staging_(staging), models_(models) {}

  // Adds the update to the study's sum. In round 0 it only remembers which update it is.
  absl::Status Fold(const Context& context, const FoldUpdate& update);
  // base + mean of exactly the `accepted` updates as a file of the registry; in round 0 the update
  // itself. If others were folded, or one was lost, all are folded anew. Ends the round's sum.
  absl::StatusOr<MadeModel> Aggregate(const Context& context,
                                     const std::vector<FoldUpdate>& accepted);
  // Frees the sum of a round that is over or has to be folded anew.
  void Forget(const std::string& study, int64_t round);

 private:
  struct Sum {
    int64_t round = 0;
    aggregation::WeightedMean mean;
    FoldUpdate first;  // of round 0
    std::vector<std::string> folded;  // upload ids, in the order of folding
  };
  bool IsSumOf(const Context& context, const std::vector<FoldUpdate>& accepted) const;
  privacy::SealContext SealOf(const Context& context, const FoldUpdate& update) const;
  absl::StatusOr<wire::TensorMap> ReadFirst(const Context& context, const Sum& sum) const;
  absl::StatusOr<wire::TensorLayout> WriteFirst(const Context& context, const Sum& sum,
                                                ChunkWriter& writer) const;
  // Block by block: neither the base nor the new model is in memory.
  absl::StatusOr<wire::TensorLayout> WriteBasePlusMean(const Context& context, const Sum& sum,
                                                       ChunkWriter& writer) const;

  const std::string federation_;
  const privacy::HpkeKeyPair& key_;
  const Staging& staging_;
  ModelStore& models_;
  std::map<std::string, Sum> sums_;  // by study
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_
