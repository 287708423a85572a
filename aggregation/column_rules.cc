#include "aggregation/column_rules.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "absl/strings/str_cat.h"
#include "aggregation/sorting_network.h"

namespace consilium::aggregation {
namespace {

// Four columns at once: one register of every x86-64 and of every 64-bit Arm.
constexpr size_t kLanes = 4;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Wide = double __attribute__((vector_size(kLanes * sizeof(double))));

constexpr size_t kRowsInRegisters = 24;  // of more rows the columns are sorted in the cache
constexpr size_t kScratchFloats = 6144;  // 24 KiB, within any first-level cache

absl::Status CheckRows(Rows rows, size_t columns) {
  if (rows.empty()) return absl::InvalidArgumentError("there are no updates");
  if (rows.size() > kRowsMax) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kRowsMax, " updates"));
  }
  for (const absl::Span<const float> row : rows) {
    if (row.size() != columns) {
      return absl::InvalidArgumentError("the updates' blocks differ in length");
    }
  }
  return absl::OkStatus();
}

Lanes Load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

void Store(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof(lanes)); }

// g++ makes a comparison and two blends of the portable form.
__attribute__((always_inline)) inline void CompareExchange(Lanes& low, Lanes& high) {
#ifdef __SSE__
  const Lanes smaller = _mm_min_ps(low, high);
  high = _mm_max_ps(low, high);
#else
  const Lanes smaller = low < high ? low : high;
  high = low < high ? high : low;
#endif
  low = smaller;
}

// Equal zeros of both signs come out of a network in the order they went in; 0 + -0 = 0 makes the
// result independent of it.
Lanes WithoutMinusZero(Lanes lanes) { return lanes + 0.0f; }

// Reductions of sorted columns: sorted[i * stride] is the i-th smallest.
struct TakeMedian {
  template <typename At>
  __attribute__((always_inline)) Lanes operator()(size_t n, At at) const {
    if (n % 2 == 1) return WithoutMinusZero(at(n / 2));
    return (at(n / 2 - 1) + at(n / 2)) * 0.5f;
  }
};

struct TakeTrimmedMean {
  size_t trim;
  template <typename At>
  __attribute__((always_inline)) Lanes operator()(size_t n, At at) const {
    Wide sum = {};
    for (size_t i = trim; i < n - trim; ++i) sum += __builtin_convertvector(at(i), Wide);
    const double share = 1.0 / static_cast<double>(n - 2 * trim);
    return __builtin_convertvector(sum * share, Lanes);
  }
};

template <size_t N, size_t... K>
__attribute__((always_inline)) inline void SortLanes(Lanes (&x)[N], std::index_sequence<K...>) {
  [[maybe_unused]] constexpr auto kNetwork = Network<N>();
  (CompareExchange(x[kNetwork[K].low], x[kNetwork[K].high]), ...);
}

// Columns [0, columns) of N rows, a multiple of kLanes. The compiler leaves out comparators that
// `take` does not look at.
template <size_t N, typename Take>
void InRegisters(const float* const* rows, size_t columns, Take take, float* out) {
  for (size_t at = 0; at < columns; at += kLanes) {
    Lanes x[N];
    for (size_t i = 0; i < N; ++i) x[i] = Load(rows[i] + at);
    SortLanes(x, std::make_index_sequence<NetworkSize(N)>());
    Store(out + at, take(N, [&x](size_t i) { return x[i]; }));
  }
}

template <typename Take>
void InCache(const float* const* rows, size_t n, size_t columns, Take take, float* out) {
  std::vector<Comparator> network;
  VisitNetwork(n, [&network](size_t low, size_t high) {
    network.push_back({static_cast<uint16_t>(low), static_cast<uint16_t>(high)});
  });
  const size_t width = std::max(kLanes, kScratchFloats / n / kLanes * kLanes);
  std::vector<float> scratch(n * width);
  for (size_t begin = 0; begin < columns; begin += width) {
    const size_t count = std::min(width, columns - begin);
    for (size_t i = 0; i < n; ++i) {
      std::copy_n(rows[i] + begin, count, scratch.data() + i * width);
    }
    for (const Comparator& comparator : network) {
      float* low = scratch.data() + comparator.low * width;
      float* high = scratch.data() + comparator.high * width;
      for (size_t at = 0; at < count; at += kLanes) {
        Lanes a = Load(low + at);
        Lanes b = Load(high + at);
        CompareExchange(a, b);
        Store(low + at, a);
        Store(high + at, b);
      }
    }
    for (size_t at = 0; at < count; at += kLanes) {
      const float* sorted = scratch.data() + at;
      Store(out + begin + at, take(n, [=](size_t i) { return Load(sorted + i * width); }));
    }
  }
}

template <typename Take, size_t... N>
void Dispatch(const float* const* rows, size_t n, size_t columns, Take take, float* out,
              std::index_sequence<N...>) {
  const bool done = ((n == N + 1 && (InRegisters<N + 1>(rows, columns, take, out), true)) || ...);
  if (!done) InCache(rows, n, columns, take, out);
}

template <typename Take>
void OverColumns(Rows rows, Take take, absl::Span<float> out) {
  const auto sort = [&](const float* const* from, size_t columns, float* to) {
    Dispatch(from, rows.size(), columns, take, to, std::make_index_sequence<kRowsInRegisters>());
  };
  std::vector<const float*> from;
  for (const absl::Span<const float> row : rows) from.push_back(row.data());
  const size_t whole = out.size() / kLanes * kLanes;
  sort(from.data(), whole, out.data());
  const size_t rest = out.size() - whole;
  if (rest == 0) return;
  std::vector<float> padded(rows.size() * kLanes, 0.0f);
  for (size_t i = 0; i < rows.size(); ++i) {
    from[i] = std::copy_n(rows[i].data() + whole, rest, padded.data() + i * kLanes) - rest;
  }
  float last[kLanes];
  sort(from.data(), kLanes, last);
  std::copy_n(last, rest, out.data() + whole);
}

}  // namespace

absl::Status Median(Rows rows, absl::Span<float> out) {
  if (absl::Status status = CheckRows(rows, out.size()); !status.ok()) return status;
  OverColumns(rows, TakeMedian{}, out);
  return absl::OkStatus();
}

absl::Status TrimmedMean(Rows rows, int64_t trim, absl::Span<float> out) {
  if (absl::Status status = CheckRows(rows, out.size()); !status.ok()) return status;
  if (trim < 0 || 2 * trim >= static_cast<int64_t>(rows.size())) {
    return absl::InvalidArgumentError(absl::StrCat("trimming ", trim, " values at each end of ",
                                                   rows.size(), " updates leaves none"));
  }
  OverColumns(rows, TakeTrimmedMean{static_cast<size_t>(trim)}, out);
  return absl::OkStatus();
}

absl::Status WeightedSum(Rows rows, absl::Span<const double> factors, absl::Span<float> out) {
  if (absl::Status status = CheckRows(rows, out.size()); !status.ok()) return status;
  if (factors.size() != rows.size()) {
    return absl::InvalidArgumentError("there is not one factor for each update");
  }
  if (!std::all_of(factors.begin(), factors.end(), [](double f) { return std::isfinite(f); })) {
    return absl::InvalidArgumentError("a factor is not a finite number");
  }
  double sum[512];
  for (size_t begin = 0; begin < out.size(); begin += std::size(sum)) {
    const size_t count = std::min(std::size(sum), out.size() - begin);
    std::fill_n(sum, count, 0.0);
    for (size_t row = 0; row < rows.size(); ++row) {
      const double factor = factors[row];
      if (factor == 0) continue;
      const float* values = rows[row].data() + begin;
      for (size_t i = 0; i < count; ++i) sum[i] += factor * static_cast<double>(values[i]);
    }
    for (size_t i = 0; i < count; ++i) out[begin + i] = static_cast<float>(sum[i]);
  }
  return absl::OkStatus();
}

}  // namespace consilium::aggregation
