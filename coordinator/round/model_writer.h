// Writes the files that a round makes, from the front and block by block: the model and, beside it,
// what the next round needs: the server optimiser's moments, SCAFFOLD's control variate.
//
// Memory: a block of a million parameters for each thread and two more, of 24 bytes a parameter
// (robust rules: 4 bytes a site). Thread-safe.
#ifndef CONSILIUM_COORDINATOR_ROUND_MODEL_WRITER_H_
#define CONSILIUM_COORDINATOR_ROUND_MODEL_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/round/masked_round.h"
#include "coordinator/round/study_run.h"
#include "coordinator/round/update_combiner.h"
#include "coordinator/store/model_store.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

// What a round's work needs to know of its study.
struct AggregationContext {
  std::string study;
  int64_t round = 0;
  int64_t parameters = 0;   // of the base model; unknown (0) in round 0
  std::string base_sha256;  // empty in round 0
  std::string plan_json;
  RuleSpec rule = {};
  OptimizerSpec optimizer = {};
  std::string optimizer_sha256 = {};  // its moments; empty: none yet
  bool scaffold = false;
  std::string control_sha256 = {};  // empty: zeros
  int64_t population = 0;           // SCAFFOLD: sites of the study
  // Masked rounds: the sums of the round's groups, and the session of each.
  std::shared_ptr<const std::vector<MaskedSum>> sums = nullptr;
  int64_t masked_bits = 0;
};

// Its chunks are durable; they are safe from collection until it is destroyed, so commit before.
struct MadeModel {
  NewModel model;
  std::vector<ManifestRecord> manifests;  // the model's first
  std::vector<ChunkWriter> hold;
};

// Threads that blocks are made on: the size of the pool that is lent.
int AggregationThreads();

// For both: `lost` gets the task of the update that could not be read, where that is why.
// INVALID_ARGUMENT: the new model has a value that is not finite. Others: this machine could not
// read the base or write the model; DATA_LOSS: what is stored does not fit it.

// Round 0: the update itself, bit for bit.
absl::StatusOr<MadeModel> WriteFirstModel(const AggregationContext& context, const SealedPart& part,
                                          ModelStore& models, std::string& lost);
// The base moved by what `combiner` makes of the updates of `sites` sites.
absl::StatusOr<MadeModel> WriteNextModel(const AggregationContext& context,
                                         const UpdateCombiner& combiner, int64_t sites,
                                         ModelStore& models, ThreadPool& pool, std::string& lost);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_MODEL_WRITER_H_
