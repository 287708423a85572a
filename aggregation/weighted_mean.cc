#include "aggregation/weighted_mean.h"

#include <algorithm>
#include <cmath>

#include "absl/base/casts.h"
#include "absl/strings/str_cat.h"
#include "proto/base/check.h"

namespace consilium::aggregation {
namespace {

constexpr double kScale = 4294967296.0;  // 2^32

// std::llrint of a number below 2^51, as an addition that vectorises: 1.5 * 2^52 leaves no bits for a
// fraction, and what it rounds to is in the low bits of the sum.
static_assert(kUpdateValueMax * kScale < 2251799813685248.0);
int64_t Nearest(double value) {
  constexpr double kShift = 6755399441055744.0;
  return absl::bit_cast<int64_t>(value + kShift) - absl::bit_cast<int64_t>(kShift);
}

// Written so that NaN, which compares false with everything, is caught too.
bool IsPlausible(float value) { return std::fabs(value) <= kUpdateValueMax; }

}  // namespace

absl::Status CheckUpdateValues(absl::Span<const float> values) {
  // Without a branch for each value, which is several times as fast.
  unsigned plausible = 1;
  for (const float value : values) plausible &= static_cast<unsigned>(IsPlausible(value));
  if (plausible == 1) return absl::OkStatus();
  const float worst = *std::find_if_not(values.begin(), values.end(), IsPlausible);
  return absl::InvalidArgumentError(std::isfinite(worst)
                                        ? absl::StrCat("a value is beyond ", kUpdateValueMax)
                                        : std::string("a value is not a finite number"));
}

WeightedMean::WeightedMean(int64_t parameters) : sum_(static_cast<size_t>(parameters), 0) {}

absl::Status WeightedMean::Begin(int64_t weight_milli) {
  if (weight_milli <= 0) return absl::InvalidArgumentError("the weight must be positive");
  if (weight_milli > kWeightTotalMaxMilli - weight_total_milli_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the weights of a round add up to more than ", kWeightTotalMaxMilli / 1000,
                     " cases"));
  }
  weight_milli_ = weight_milli;
  weight_total_milli_ += weight_milli;
  ++updates_;
  return absl::OkStatus();
}

absl::Status WeightedMean::AddIdle(int64_t weight_milli) {
  if (weight_milli <= 0) return absl::InvalidArgumentError("the weight must be positive");
  if (weight_milli > kWeightTotalMaxMilli - weight_total_milli_) {
    return absl::ResourceExhaustedError("the weights of a round add up to too much");
  }
  weight_total_milli_ += weight_milli;
  return absl::OkStatus();
}

void WeightedMean::Fold(int64_t offset, absl::Span<const float> values) {
  CSL_CHECK(weight_milli_ > 0);
  CSL_CHECK(offset >= 0 && offset + static_cast<int64_t>(values.size()) <= parameters());
  int64_t* sum = sum_.data() + offset;
  const int64_t weight = weight_milli_;
  for (size_t i = 0; i < values.size(); ++i) {
    sum[i] += Nearest(static_cast<double>(values[i]) * kScale) * weight;
  }
}

absl::Status WeightedMean::AddMeanTo(absl::Span<float> base) const {
  if (updates_ > 0 && base.size() != sum_.size()) {
    return absl::InvalidArgumentError("the base model has another number of parameters");
  }
  return AddMeanTo(0, base);
}

absl::Status WeightedMean::AddMeanTo(int64_t offset, absl::Span<float> block) const {
  if (updates_ == 0) return absl::FailedPreconditionError("no update was folded");
  if (offset < 0 || offset > parameters() ||
      static_cast<int64_t>(block.size()) > parameters() - offset) {
    return absl::OutOfRangeError("the block lies beyond the model's parameters");
  }
  const double unit = 1.0 / (kScale * static_cast<double>(weight_total_milli_));
  const int64_t* sum = sum_.data() + offset;
  for (size_t i = 0; i < block.size(); ++i) {
    block[i] = static_cast<float>(block[i] + static_cast<double>(sum[i]) * unit);
  }
  return absl::OkStatus();
}

}  // namespace consilium::aggregation
