// Makes a round's model of the updates that were accepted for it: the only part of a round that
// does long work. Block by block: of every update the same few megabytes, their mean, base plus
// mean, the next. So its memory does not grow with the model nor with the number of sites, nothing
// is kept from one update to the next, and a round that is taken up after a crash starts at the
// same place.
//
// Memory: kBlocksAtOnce blocks of 16 bytes a parameter, an open file for each update.
// Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_
#define CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/round/round.h"
#include "coordinator/round/study_run.h"
#include "coordinator/round/update_reader.h"
#include "coordinator/round/upload.h"
#include "coordinator/store/model_store.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "proto/base/thread_pool.h"
#include "proto/wire/tensor_map.h"

namespace consilium::coordinator {

// Its chunks are durable; they are safe from collection until it is destroyed, so commit before.
struct MadeModel {
  NewModel model;
  ManifestRecord manifest;
  ChunkWriter hold;
};

// Accepted updates whose staged bytes are gone or are no longer what was accepted.
struct LostUpdates {
  std::vector<std::string> task_ids;
};

class AggregationWorker {
 public:
  // What a round's work needs to know of its study.
  struct Context {
    std::string study;
    int64_t round = 0;
    int64_t parameters = 0;   // of the base model; unknown (0) in round 0
    std::string base_sha256;  // empty in round 0
    std::string plan_json;
  };
  // All must outlive the worker.
  AggregationWorker(std::string federation, const privacy::HpkeKeyPair& key, const Staging& staging,
                    ModelStore& models);

  // base + mean of exactly these updates as a file of the registry; in round 0 the update itself,
  // bit for bit. FAILED_PRECONDITION: there are none. INVALID_ARGUMENT: the new model has a value
  // that is not finite. Others: this machine could not read the base or write the model.
  absl::StatusOr<std::variant<MadeModel, LostUpdates>> Aggregate(
      const Context& context, const std::vector<FoldUpdate>& accepted);

 private:
  struct Part {
    FoldUpdate update;
    UpdateReader reader;
  };
  class BlockMaker;
  privacy::SealContext SealOf(const Context& context, const FoldUpdate& update) const;
  absl::StatusOr<Part> OpenPart(const Context& context, const FoldUpdate& update) const;
  absl::StatusOr<wire::TensorLayout> WriteFirst(const Context& context, const Part& part,
                                                LostUpdates& lost, ChunkWriter& writer) const;
  absl::StatusOr<wire::TensorLayout> WriteBasePlusMean(const Context& context,
                                                       const std::vector<Part>& parts,
                                                       LostUpdates& lost, ChunkWriter& writer);

  const std::string federation_;
  const privacy::HpkeKeyPair& key_;
  const Staging& staging_;
  ModelStore& models_;
  ThreadPool pool_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_
