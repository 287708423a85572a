// Makes a round's model of the updates that were accepted for it: the only part of a round that
// does long work. Block by block: of every update the same few megabytes, what the study's rule
// makes of them (update_combiner.h), what its server optimiser does with that (model_writer.h), the
// next. So its memory does not grow with the model, nothing is kept from one update to the next,
// and a round that is taken up after a crash starts at the same place.
//
// Memory: model_writer's blocks, and an open file for each update. Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_
#define CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/round/model_writer.h"
#include "coordinator/round/round.h"
#include "coordinator/round/update_combiner.h"
#include "coordinator/round/upload.h"
#include "coordinator/store/model_store.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "proto/base/thread_pool.h"
#include "proto/wire/tensor_map.h"

namespace consilium::coordinator {

// Accepted updates whose staged bytes are gone or are no longer what was accepted.
struct LostUpdates {
  std::vector<std::string> task_ids;
};

class AggregationWorker {
 public:
  using Context = AggregationContext;
  // All must outlive the worker.
  AggregationWorker(std::string federation, const privacy::HpkeKeyPair& key, const Staging& staging,
                    ModelStore& models);

  // The base moved by exactly these updates as a file of the registry; in round 0 the update
  // itself, bit for bit. FAILED_PRECONDITION: there are none, or too few for the rule.
  // INVALID_ARGUMENT: the new model has a value that is not finite. Others: this machine could not
  // read the base or write the model.
  absl::StatusOr<std::variant<MadeModel, LostUpdates>> Aggregate(
      const Context& context, const std::vector<FoldUpdate>& accepted);

 private:
  privacy::SealContext SealOf(const Context& context, const FoldUpdate& update) const;
  std::string PathOf(const Context& context, const FoldUpdate& update) const;
  absl::StatusOr<SealedPart> OpenSealed(const Context& context, const FoldUpdate& update) const;
  absl::StatusOr<MaskedPart> OpenMasked(const Context& context, const MaskedSum& sum,
                                        const FoldUpdate& update) const;
  absl::StatusOr<MadeModel> MakeSealed(const Context& context, const std::vector<SealedPart>& parts,
                                       std::string& lost);
  absl::StatusOr<MadeModel> MakeMasked(const Context& context,
                                       const std::vector<MaskedGroup>& groups, std::string& lost);

  const std::string federation_;
  const privacy::HpkeKeyPair& key_;
  const Staging& staging_;
  ModelStore& models_;
  ThreadPool pool_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_AGGREGATION_WORKER_H_
