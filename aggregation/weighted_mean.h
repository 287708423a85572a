// Federated averaging: the weighted mean of the sites' updates, folded block by block.
//
//   mean = sum_i w_i * delta_i / sum_i w_i          (McMahan et al. 2017, arXiv:1602.05629, alg. 1)
//
// The sum is kept in 64-bit fixed point (2^-32), so it does not depend on the order in which the
// updates arrive, bit for bit. Weights are in thousandths of a case.
#ifndef CONSILIUM_AGGREGATION_WEIGHTED_MEAN_H_
#define CONSILIUM_AGGREGATION_WEIGHTED_MEAN_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace consilium::aggregation {

// |value| above this is no plausible weight change; it also keeps the fixed-point sum in range:
// 2^32 * 2^6 * 2^24 = 2^62.
inline constexpr float kUpdateValueMax = 64.0f;
inline constexpr int64_t kWeightTotalMaxMilli = int64_t{1} << 24;

// INVALID_ARGUMENT: a value is NaN, infinite, or beyond kUpdateValueMax.
absl::Status CheckUpdateValues(absl::Span<const float> values);

// Memory: 8 bytes a parameter, however many updates. Thread-compatible.
class WeightedMean {
 public:
  explicit WeightedMean(int64_t parameters);

  // Reserves the weight of one update before its blocks. INVALID_ARGUMENT: not positive.
  // RESOURCE_EXHAUSTED: the total would pass kWeightTotalMaxMilli. State unchanged on error.
  absl::Status Begin(int64_t weight_milli);
  // Counts weight in the divisor alone, as if zeros had been folded with it. Errors as Begin's.
  absl::Status AddIdle(int64_t weight_milli);
  // Adds a block of the update begun last. Its values must have passed CheckUpdateValues, and the
  // blocks of an update must cover each parameter once: a caller checks the whole update first.
  void Fold(int64_t offset, absl::Span<const float> values);

  int64_t parameters() const { return static_cast<int64_t>(sum_.size()); }
  int64_t updates() const { return updates_; }
  int64_t weight_total_milli() const { return weight_total_milli_; }

  // base + mean, written over `base`. FAILED_PRECONDITION: nothing was folded.
  // INVALID_ARGUMENT: `base` has another length.
  absl::Status AddMeanTo(absl::Span<float> base) const;
  // The same of a block of the base that starts at parameter `offset`. OUT_OF_RANGE: not within.
  absl::Status AddMeanTo(int64_t offset, absl::Span<float> block) const;

 private:
  std::vector<int64_t> sum_;
  int64_t weight_milli_ = 0;
  int64_t weight_total_milli_ = 0;
  int64_t updates_ = 0;
};

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_WEIGHTED_MEAN_H_
