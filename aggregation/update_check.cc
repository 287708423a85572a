#include "aggregation/update_check.h"

#include <algorithm>
#include <cmath>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace consilium::aggregation {
namespace {

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "the digest is of little-endian values, as the updates are"
#endif

absl::string_view BytesOf(absl::Span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// Of finite values; any NaN or infinity gives infinity. Compared as integers, because the order of
// the bits of |x| is that of the numbers, with NaN above infinity: no branch, and it vectorises.
float LargestMagnitude(absl::Span<const float> values) {
  int32_t largest = 0;
  for (const float value : values) {
    int32_t bits;
    static_assert(sizeof(bits) == sizeof(value));
    __builtin_memcpy(&bits, &value, sizeof(bits));
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  if (largest >= 0x7f800000) return std::numeric_limits<float>::infinity();
  float magnitude;
  __builtin_memcpy(&magnitude, &largest, sizeof(magnitude));
  return magnitude;
}

}  // namespace

UpdateCheck::UpdateCheck(const UpdateLimits& limits) : limits_(limits) {}

absl::Status UpdateCheck::CheckValues(absl::Span<const float> values) {
  if (static_cast<int64_t>(values.size()) > limits_.parameters - count_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the update has more than the model's ", limits_.parameters, " values"));
  }
  const float largest = LargestMagnitude(values);
  if (!std::isfinite(largest)) {
    return absl::InvalidArgumentError("a value is not a finite number");
  }
  const float allowed = std::min(limits_.value_max, kUpdateValueMax);
  if (!(largest <= allowed)) {
    return absl::InvalidArgumentError(absl::StrCat("a value is beyond ", allowed));
  }
  value_max_ = std::max(value_max_, largest);
  return absl::OkStatus();
}

// Lanes by the value's place in the update, so that the blocks' ends change no bit of the norm.
void UpdateCheck::AddSquares(absl::Span<const float> values) {
  size_t at = 0;
  const auto one = [&] {
    const auto value = static_cast<double>(values[at]);
    squares_[static_cast<size_t>(count_ + static_cast<int64_t>(at)) % kLanes] += value * value;
    ++at;
  };
  while (at < values.size() &&
         static_cast<size_t>(count_ + static_cast<int64_t>(at)) % kLanes != 0) {
    one();
  }
  double lanes[kLanes];
  std::copy_n(squares_, kLanes, lanes);
  for (; at + kLanes <= values.size(); at += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(values[at + lane]);
      lanes[lane] += value * value;
    }
  }
  std::copy_n(lanes, kLanes, squares_);
  while (at < values.size()) one();
}

absl::Status UpdateCheck::Add(absl::Span<const float> values) {
  if (!status_.ok()) return status_;
  status_ = CheckValues(values);
  if (!status_.ok()) return status_;
  AddSquares(values);
  digest_.Update(BytesOf(values));
  count_ += static_cast<int64_t>(values.size());
  return absl::OkStatus();
}

absl::StatusOr<UpdateFacts> UpdateCheck::Finish() {
  if (!status_.ok()) return status_;
  if (count_ != limits_.parameters) {
    return absl::InvalidArgumentError(
        absl::StrCat("the update has ", count_, " values, the model ", limits_.parameters));
  }
  double squares = 0;
  for (const double lane : squares_) squares += lane;
  const double norm = std::sqrt(squares);
  // Written so that a bound that is NaN refuses.
  if (!(norm <= limits_.norm_max)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the norm %.6g is above the bound %.6g", norm, limits_.norm_max));
  }
  return UpdateFacts{.norm = norm,
                     .value_max = value_max_,
                     .all_zero = value_max_ == 0,
                     .sha256 = digest_.Finish()};
}

}  // namespace consilium::aggregation
