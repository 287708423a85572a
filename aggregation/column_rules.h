// Rules that look at one parameter at a time: functions of a block of every update, nothing kept.
//
// `rows` are the same block of each update, equally long, of values that are finite. The result of
// a parameter depends on its column alone, so blocks may be cut and computed in any order, by any
// number of threads; the order of the rows changes no bit of Median and TrimmedMean.
//
// Time: columns are sorted in registers or the first-level cache by Batcher's merge exchange
// (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), without a branch on a value.
// Thread-safe. INVALID_ARGUMENT of all: no rows, more than kRowsMax, lengths that differ.
#ifndef CONSILIUM_AGGREGATION_COLUMN_RULES_H_
#define CONSILIUM_AGGREGATION_COLUMN_RULES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace consilium::aggregation {

inline constexpr size_t kRowsMax = 512;

using Rows = absl::Span<const absl::Span<const float>>;

// The median of each column; of an even number of rows the mean of the middle two. Yin et al. 2018,
// arXiv:1803.01498, definition 1. Stands against fewer hostile rows than half. With the means of
// groups as rows it is the median across groups.
absl::Status Median(Rows rows, absl::Span<float> out);

// The mean of each column without its `trim` smallest and `trim` largest values. Same paper,
// definition 2, with beta = trim/n. INVALID_ARGUMENT also: 2 * trim is not less than the rows.
absl::Status TrimmedMean(Rows rows, int64_t trim, absl::Span<float> out);

// sum_i factors[i] * rows[i], in double, in the order of the rows. A row whose factor is 0 is not
// read. INVALID_ARGUMENT also: a factor that is not finite, another number of factors than of rows.
absl::Status WeightedSum(Rows rows, absl::Span<const double> factors, absl::Span<float> out);

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_COLUMN_RULES_H_
