// Divide and conquer (DnC): which updates stand out along the direction in which they vary most.
// Shejwalkar & Houmansadr, "Manipulating the Byzantine", NDSS 2021, algorithm 2. In each iteration:
//   a sample of r parameters, the updates' values there centred on their mean: matrix X_c (n x r)
//   v the top right singular vector of X_c; s_i = <X_c,i , v>^2; the f largest s_i are dropped
// and what no iteration dropped is averaged.
//
// The sample is drawn from a seed that anybody may know, but that nobody could know before the
// updates were fixed: a hostile site that foresees the sample attacks beside it.
#ifndef CONSILIUM_AGGREGATION_DNC_H_
#define CONSILIUM_AGGREGATION_DNC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "aggregation/column_rules.h"

namespace consilium::aggregation {

struct DncOptions {
  // The same seed, numbers and updates give the same choice. For instance the digest of the digests
  // of the round's updates.
  std::string seed = {};
  int64_t sample_parameters = 10000;  // r; of a smaller model all
  int64_t iterations = 3;
};

inline constexpr int64_t kDncSampleMax = 100000;
inline constexpr int64_t kDncIterationsMax = 16;

// `count` different numbers of [0, bound), ascending, from the stream
//   SHA-256("consilium dnc v1" | LE64(iteration) | LE64(k) | seed), k = 0, 1, ...
// read as 64-bit little-endian words, with rejection (Floyd's sampling). All of them if count >=
// bound.
std::vector<int64_t> DncSample(const std::string& seed, int64_t iteration, int64_t bound,
                               int64_t count);

// The squared projections s_i of the rows of a matrix (n x r, row after row) on the top singular
// vector of the centred matrix. By repeated squaring of the n x n matrix X_c X_c^T, whose top
// eigenvector u gives s_i = sigma^2 u_i^2. Zeros if all rows are equal.
std::vector<double> DncScores(const std::vector<float>& matrix, size_t n);

// Gathers the samples of the updates, then chooses. Add is thread-safe.
// Memory: 4 * iterations * r bytes an update.
class DncFilter {
 public:
  // All are bounded by the caller: 1 <= iterations, samples.
  DncFilter(const DncOptions& options, int64_t parameters, size_t updates);

  // Takes from a block what is in the samples. Rows as UpdateStatistics::Add's; each block once.
  void Add(int64_t offset, Rows rows);

  // How many iterations drop each update, of which at most 2f altogether stay dropped: those
  // dropped most often, among equals those with the largest s_i / sum s. (The paper drops all of
  // them, which can leave none.) Result: 0 = kept.
  std::vector<int64_t> TimesDropped(int64_t f) const;

 private:
  const size_t updates_;
  std::vector<std::vector<int64_t>> samples_;  // of each iteration, ascending
  mutable absl::Mutex mutex_;
  // Of each iteration the updates' sampled values, row after row.
  std::vector<std::vector<float>> values_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_DNC_H_
