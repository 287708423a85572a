// One round's updates made one by a robust rule, block by block, in one or two passes.
//
//   1. Create, with the rule, the model's size and each update's weight.
//   2. If NeedsFirstPass: Observe each block of the model once, from any threads, in any order.
//   3. Decide, once: what becomes of each update, with the reason for the audit trail.
//   4. Combine each block: the rule's delta, to be added to the base or given to a server
//   optimiser.
//
// The rows of a block are that block of every update, in the order of the weights, in which ties
// are settled too: an order that does not depend on who came first (by site id) makes the result a
// function of the updates alone. The order and the threads of the blocks change no bit of it; nor
// do the blocks' ends where these are multiples of kCellParameters (see update_statistics.h).
//
// Memory: of the statistics, nothing that grows with model x updates: 16 bytes a pair of updates;
// of DnC 4 * iterations * sample bytes an update.
// Thread-safe, except that Decide must come after every Observe.
#ifndef CONSILIUM_AGGREGATION_ROBUST_AGGREGATOR_H_
#define CONSILIUM_AGGREGATION_ROBUST_AGGREGATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "aggregation/column_rules.h"
#include "aggregation/dnc.h"
#include "aggregation/robust_rule.h"
#include "aggregation/update_statistics.h"

namespace consilium::aggregation {

struct RobustOptions {
  Rule rule = Rule::kTrimmedMean;
  int64_t hostile_max = 0;  // f
  double norm_max = 0;      // C of kNormBound
  DncOptions dnc = {};
};

// What becomes of one update. Rules that look at each parameter alone keep all with factor 0.
struct UpdateVerdict {
  double factor = 0;   // of the update in the result
  std::string reason;  // why it was dropped or changed, in words and numbers; empty: it was not
  bool dropped = false;
};

struct Decision {
  std::vector<UpdateVerdict> updates;  // in the order of the rows
  std::vector<double> Factors() const;
};

class RobustAggregator {
 public:
  // `weights_milli`: of each update, in thousandths of a case, as enrolled or capped by enrolment,
  // never as a site claims. The median, the trimmed mean, Krum's choice and FLTrust do not use
  // them: there every update counts alike. FAILED_PRECONDITION: CheckRule (for kGroupMedian the
  // rows are the groups: 2f+1 at least). INVALID_ARGUMENT: a weight or an option out of range.
  static absl::StatusOr<std::unique_ptr<RobustAggregator>> Create(
      const RobustOptions& options, int64_t parameters, std::vector<int64_t> weights_milli);

  bool NeedsFirstPass() const { return statistics_ != nullptr || dnc_ != nullptr; }
  bool NeedsRoot() const { return options_.rule == Rule::kFlTrust; }

  // `rows`: values that passed CheckUpdateValues; `root`: the root update's block if NeedsRoot,
  // else empty. INVALID_ARGUMENT: not a block of this model and these updates; nothing is counted
  // then.
  absl::Status Observe(int64_t offset, Rows rows, absl::Span<const float> root = {});

  // FAILED_PRECONDITION: the blocks observed are not the whole model, or the rule leaves nothing to
  // make a mean of (a root update of zeros; no update that points the root's way).
  absl::StatusOr<Decision> Decide() const;

  // The rule's value of a block, into `delta`. INVALID_ARGUMENT: rows, decision and delta differ in
  // number or length.
  absl::Status Combine(const Decision& decision, Rows rows, absl::Span<float> delta) const;

 private:
  RobustAggregator(const RobustOptions& options, int64_t parameters,
                   std::vector<int64_t> weights_milli);
  size_t updates() const { return weights_milli_.size(); }
  void SetFactorsByWeight(Decision& decision) const;
  void DecideNormBound(Decision& decision) const;
  void DecideKrum(Decision& decision) const;
  void DecideDnc(Decision& decision) const;
  absl::Status DecideFlTrust(Decision& decision) const;

  const RobustOptions options_;
  const int64_t parameters_;
  const std::vector<int64_t> weights_milli_;
  std::unique_ptr<UpdateStatistics> statistics_;  // null: the rule does not need them
  std::unique_ptr<DncFilter> dnc_;                // null: another rule
  mutable absl::Mutex mutex_;
  int64_t sampled_ ABSL_GUARDED_BY(mutex_) = 0;  // parameters that dnc_ has seen
};

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_ROBUST_AGGREGATOR_H_
