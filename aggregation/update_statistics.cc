#include "aggregation/update_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "proto/base/check.h"

namespace consilium::aggregation {
namespace {

constexpr double kUnit = 0x1p-64;
// A cell of the largest differences that checked values have sums to (2^7)^2 * 2^12 = 2^26; of 2^32
// parameters 2^46. Below 2^40 a cell, 2^20 cells cannot overflow 2^63 either.
constexpr double kCellSumMax = 0x1p40;

// Parameters whose rows stay in the first-level cache while every pair is gone through.
constexpr size_t kTile = 512;

constexpr size_t kLanes = 16;
constexpr size_t kSteps = 8;  // in float, before a lane goes on in double

double SumOf(const double (&lanes)[kLanes]) {
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

double SquaredDistanceOf(const float* a, const float* b, size_t count) {
  double wide[kLanes] = {};
  size_t at = 0;
  for (; at + kLanes * kSteps <= count; at += kLanes * kSteps) {
    float part[kLanes] = {};
    for (size_t step = 0; step < kSteps; ++step) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const float d = a[at + step * kLanes + lane] - b[at + step * kLanes + lane];
        part[lane] += d * d;
      }
    }
    for (size_t lane = 0; lane < kLanes; ++lane) wide[lane] += static_cast<double>(part[lane]);
  }
  double sum = SumOf(wide);
  for (; at < count; ++at) {
    const double d = static_cast<double>(a[at]) - static_cast<double>(b[at]);
    sum += d * d;
  }
  return sum;
}

double ProductOf(const float* a, const float* b, size_t count) {
  double wide[kLanes] = {};
  size_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      wide[lane] += static_cast<double>(a[at + lane]) * static_cast<double>(b[at + lane]);
    }
  }
  double sum = SumOf(wide);
  for (; at < count; ++at) sum += static_cast<double>(a[at]) * static_cast<double>(b[at]);
  return sum;
}

size_t SizeOf(UpdateStatistics::Gather gather, size_t updates) {
  switch (gather) {
    case UpdateStatistics::Gather::kDistances:
      return updates * (updates - 1) / 2;
    case UpdateStatistics::Gather::kNorms:
      return updates;
    case UpdateStatistics::Gather::kNormsAndRoot:
      return 2 * updates + 1;
  }
  return 0;
}

// The pairs (1,0), (2,0), (2,1), (3,0), ...
size_t PairIndex(size_t a, size_t b) {
  const size_t low = std::min(a, b);
  const size_t high = std::max(a, b);
  return high * (high - 1) / 2 + low;
}

}  // namespace

UpdateStatistics::UpdateStatistics(Gather gather, size_t updates)
    : gather_(gather), updates_(updates), size_(SizeOf(gather, updates)), sums_(size_, 0) {
  CSL_CHECK(updates > 0 && updates <= kRowsMax);
}

void UpdateStatistics::SumPiece(int64_t at, size_t count, Rows rows, absl::Span<const float> root,
                                std::vector<double>& sums) const {
  const auto begin = static_cast<size_t>(at);
  if (gather_ == Gather::kDistances) {
    size_t pair = 0;
    for (size_t a = 1; a < updates_; ++a) {
      for (size_t b = 0; b < a; ++b) {
        sums[pair++] += SquaredDistanceOf(rows[a].data() + begin, rows[b].data() + begin, count);
      }
    }
    return;
  }
  for (size_t i = 0; i < updates_; ++i) {
    const float* row = rows[i].data() + begin;
    sums[i] += ProductOf(row, row, count);
    if (gather_ == Gather::kNormsAndRoot) {
      sums[updates_ + i] += ProductOf(row, root.data() + begin, count);
    }
  }
  if (gather_ == Gather::kNormsAndRoot) {
    sums[2 * updates_] += ProductOf(root.data() + begin, root.data() + begin, count);
  }
}

absl::Status UpdateStatistics::Add(int64_t offset, Rows rows, absl::Span<const float> root) {
  if (rows.size() != updates_ || offset < 0) {
    return absl::InvalidArgumentError("a block is not of every update");
  }
  const size_t size = rows.front().size();
  const bool equal = std::all_of(
      rows.begin(), rows.end(), [size](absl::Span<const float> row) { return row.size() == size; });
  if (!equal || root.size() != (gather_ == Gather::kNormsAndRoot ? size : 0)) {
    return absl::InvalidArgumentError("the updates' blocks differ in length");
  }
  const auto count = static_cast<int64_t>(size);
  std::vector<absl::int128> block(size_, 0);
  std::vector<double> cell(size_);
  int64_t pieces = 0;
  for (int64_t at = 0; at < count;) {
    const int64_t cell_end =
        std::min(count, at + kCellParameters - (offset + at) % kCellParameters);
    std::fill(cell.begin(), cell.end(), 0.0);
    while (at < cell_end) {
      const size_t tile = std::min(kTile, static_cast<size_t>(cell_end - at));
      SumPiece(at, tile, rows, root, cell);
      at += static_cast<int64_t>(tile);
    }
    ++pieces;
    for (size_t i = 0; i < size_; ++i) {
      // Written so that NaN is caught too.
      if (!(std::fabs(cell[i]) <= kCellSumMax)) {
        return absl::InvalidArgumentError("an update has values that were not checked");
      }
      block[i] += absl::int128(std::nearbyint(cell[i] / kUnit));
    }
  }
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < size_; ++i) sums_[i] += block[i];
  parameters_ += count;
  pieces_ += pieces;
  return absl::OkStatus();
}

int64_t UpdateStatistics::parameters() const {
  absl::MutexLock lock(&mutex_);
  return parameters_;
}

double UpdateStatistics::Value(size_t index) const {
  CSL_CHECK(index < size_);
  absl::MutexLock lock(&mutex_);
  return static_cast<double>(sums_[index]) * kUnit;
}

double UpdateStatistics::SquaredDistance(size_t a, size_t b) const {
  CSL_CHECK(gather_ == Gather::kDistances && a != b);
  return Value(PairIndex(a, b));
}

double UpdateStatistics::SquaredNorm(size_t update) const {
  CSL_CHECK(gather_ != Gather::kDistances && update < updates_);
  return Value(update);
}

double UpdateStatistics::RootProduct(size_t update) const {
  CSL_CHECK(gather_ == Gather::kNormsAndRoot && update < updates_);
  return Value(updates_ + update);
}

double UpdateStatistics::RootSquaredNorm() const {
  CSL_CHECK(gather_ == Gather::kNormsAndRoot);
  return Value(2 * updates_);
}

double UpdateStatistics::RoundingErrorMax() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<double>(pieces_) * kUnit / 2;
}

}  // namespace consilium::aggregation
