// How the updates of a round become one change of the model, any block of it: the same few megabytes
// of every update, combined by the study's rule. One class for each way that updates come in.
//
// Thread-safe after its maker returned. Memory: for each call under way, a block of each update that
// the rule has to see at once, else of one. The files must not change meanwhile.
#ifndef CONSILIUM_COORDINATOR_ROUND_UPDATE_COMBINER_H_
#define CONSILIUM_COORDINATOR_ROUND_UPDATE_COMBINER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/round/masked_reader.h"
#include "coordinator/round/masked_round.h"
#include "coordinator/round/round.h"
#include "coordinator/round/study.h"
#include "coordinator/round/update_reader.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

class UpdateCombiner {
 public:
  virtual ~UpdateCombiner() = default;
  // Values of the change.
  virtual int64_t parameters() const = 0;
  // Where the block that begins at `begin` and ends at `end` at the latest should end, so that little
  // is read twice.
  virtual int64_t BlockEnd(int64_t begin, int64_t end) const = 0;
  // The change's values from `begin` on. `lost` gets the task of the update that could not be read,
  // if that was it.
  virtual absl::Status Combine(int64_t begin, absl::Span<float> change,
                               std::string& lost) const = 0;

  // Updates that the rule keeps out of the change, with the reason.
  struct Outvoted {
    std::string site;
    std::string reason;
  };
  virtual std::vector<Outvoted> outvoted() const { return {}; }
  // Sums over sites of what travelled in masked words; empty otherwise.
  virtual std::map<std::string, double> sums() const { return {}; }
};

// A sealed update of a round.
struct SealedPart {
  FoldUpdate update;
  UpdateReader reader;
};
// The weighted mean. `parts` not empty, of one layout; it must outlive the combiner.
std::unique_ptr<UpdateCombiner> CombineByMean(const std::vector<SealedPart>& parts);

// A robust rule. Reads all updates once before it returns where the rule asks for it, on `pool`.
// FAILED_PRECONDITION: the rule does not hold for so many updates, or leaves none. `lost` as above.
absl::StatusOr<std::unique_ptr<UpdateCombiner>> CombineByRule(const RuleSpec& rule,
                                                              const std::vector<SealedPart>& parts,
                                                              ThreadPool& pool, std::string& lost);

// A masked update of a round.
struct MaskedPart {
  std::string task_id;
  MaskedReader reader;
};
// The sites whose updates are summed, and what opens the sum.
struct MaskedGroup {
  const MaskedSum* sum = nullptr;
  std::vector<MaskedPart> parts;
};
// The weighted mean of the one group, or the median of the groups' means. `groups` not empty; it
// must outlive the combiner. DATA_LOSS: the masks do not cancel: some site masked with other keys
// than it announced. `lost` as above.
absl::StatusOr<std::unique_ptr<UpdateCombiner>> CombineMasked(
    const std::vector<MaskedGroup>& groups, std::string& lost);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_UPDATE_COMBINER_H_
