// The door: what can be told of one update from its values alone, before it touches anything. What
// needs to know of rounds (awaited, open, its base, sent twice) is the coordinator's.
#ifndef CONSILIUM_AGGREGATION_UPDATE_CHECK_H_
#define CONSILIUM_AGGREGATION_UPDATE_CHECK_H_

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "aggregation/weighted_mean.h"
#include "privacy/crypto/sha256.h"

namespace consilium::aggregation {

struct UpdateLimits {
  int64_t parameters = 0;             // of the model; an update has exactly as many
  float value_max = kUpdateValueMax;  // of |value|; the fold's own range at most
  double norm_max = std::numeric_limits<double>::infinity();  // of the L2 norm
};

// Of an update that passed.
struct UpdateFacts {
  double norm = 0;      // L2
  float value_max = 0;  // the largest |value|
  // Adds nothing to the model: counted, but marked as a free rider's. A zero of either sign is one.
  bool all_zero = false;
  // SHA-256 of the values as little-endian float32, 32 bytes: equal for updates that are equal byte
  // by byte, and comparable with that of the base model's values.
  std::string sha256;
};

// Goes through one update, block by block, in order. The facts do not depend on where blocks end.
// Time: about that of SHA-256. Thread-compatible.
class UpdateCheck {
 public:
  explicit UpdateCheck(const UpdateLimits& limits);

  // The next values. INVALID_ARGUMENT: a value is NaN, infinite or too large, or there are more
  // than the model has. From then on the check has failed, whatever comes.
  absl::Status Add(absl::Span<const float> values);
  // After all values. INVALID_ARGUMENT: Add's, fewer values than the model has, a norm above the
  // bound.
  absl::StatusOr<UpdateFacts> Finish();

 private:
  static constexpr size_t kLanes = 8;
  absl::Status CheckValues(absl::Span<const float> values);
  void AddSquares(absl::Span<const float> values);

  const UpdateLimits limits_;
  absl::Status status_;
  int64_t count_ = 0;
  float value_max_ = 0;
  double squares_[kLanes] = {};  // of value i in lane i mod kLanes
  privacy::Sha256Stream digest_;
};

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_UPDATE_CHECK_H_
