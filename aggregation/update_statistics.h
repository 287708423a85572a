// What rules that choose among whole updates have to know of them, gathered block by block: squared
// distances between updates, squared norms, products with a root update.
//
// Independent of order: the model is divided into cells of kCellParameters. A block's share of a
// cell is summed in double, rounded to a multiple of 2^-64 and added to a 128-bit integer, so that
// blocks in any order, from any number of threads, give the same bits; and so do blocks cut
// elsewhere, if their ends are multiples of kCellParameters (other cuts change a sum by 1e-6 of
// itself at most).
//
// Distances sum eight squares at a time in float before they go on in double: error 7e-7 of the
// distance at most. Norms and products are in double throughout.
//
// Memory: 16 bytes a pair of updates; as much again for each call under way.
// Thread-safe.
#ifndef CONSILIUM_AGGREGATION_UPDATE_STATISTICS_H_
#define CONSILIUM_AGGREGATION_UPDATE_STATISTICS_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "aggregation/column_rules.h"

namespace consilium::aggregation {

inline constexpr int64_t kCellParameters = 4096;

class UpdateStatistics {
 public:
  enum class Gather { kDistances, kNorms, kNormsAndRoot };
  UpdateStatistics(Gather gather, size_t updates);

  // The same block of every update, of values that passed CheckUpdateValues; `root` is that block
  // of the root update, empty unless kNormsAndRoot. INVALID_ARGUMENT: another number of rows,
  // lengths that differ, or a sum out of the range that checked values can have; nothing is added
  // then.
  absl::Status Add(int64_t offset, Rows rows, absl::Span<const float> root);

  // Parameters added so far, of each update.
  int64_t parameters() const;
  // |x_a - x_b|^2 of two different updates; kDistances.
  double SquaredDistance(size_t a, size_t b) const;
  // |x_i|^2; the other two.
  double SquaredNorm(size_t update) const;
  // <x_i, root> and |root|^2; kNormsAndRoot.
  double RootProduct(size_t update) const;
  double RootSquaredNorm() const;
  // How far rounding to 2^-64 can have moved each of them.
  double RoundingErrorMax() const;

 private:
  double Value(size_t index) const;
  void SumPiece(int64_t at, size_t count, Rows rows, absl::Span<const float> root,
                std::vector<double>& sums) const;

  const Gather gather_;
  const size_t updates_;
  const size_t size_;  // how many sums there are
  mutable absl::Mutex mutex_;
  int64_t parameters_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t pieces_ ABSL_GUARDED_BY(mutex_) = 0;  // of cells, each of which was rounded once
  std::vector<absl::int128> sums_ ABSL_GUARDED_BY(mutex_);  // in units of 2^-64
};

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_UPDATE_STATISTICS_H_
