#include "aggregation/dnc.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"

namespace consilium::aggregation {
namespace {

// 2^24 times the power method: two singular values that differ by a millionth are told apart, and
// of equal ones any direction in their plane is the top one.
constexpr int kSquarings = 24;

std::string Le64(uint64_t value) {
  std::string bytes(8, '\0');
  StoreLe64(value, bytes.data());
  return bytes;
}

class WordStream {
 public:
  WordStream(const std::string& seed, int64_t iteration)
      : seed_(seed), prefix_("consilium dnc v1" + Le64(static_cast<uint64_t>(iteration))) {}

  // Uniform in [0, bound), bound > 0.
  uint64_t Below(uint64_t bound) {
    const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t word = Next();
    while (word >= limit) word = Next();
    return word % bound;
  }

 private:
  uint64_t Next() {
    if (at_ == privacy::kSha256Bytes) {
      privacy::Sha256Join({prefix_, Le64(block_++), seed_}, bytes_);
      at_ = 0;
    }
    const uint64_t word = LoadLe64(reinterpret_cast<const char*>(bytes_) + at_);
    at_ += 8;
    return word;
  }

  const std::string& seed_;
  const std::string prefix_;
  uint64_t block_ = 0;
  uint8_t bytes_[privacy::kSha256Bytes] = {};
  size_t at_ = privacy::kSha256Bytes;
};

using Square = std::vector<double>;  // n x n, symmetric

// X_c X_c^T by way of the centred rows.
Square Gram(const std::vector<float>& matrix, size_t n) {
  const size_t r = matrix.size() / n;
  std::vector<double> centred(matrix.begin(), matrix.end());
  for (size_t k = 0; k < r; ++k) {
    double mean = 0;
    for (size_t i = 0; i < n; ++i) mean += centred[i * r + k];
    mean /= static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) centred[i * r + k] -= mean;
  }
  Square gram(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double* a = centred.data() + i * r;
      gram[i * n + j] = std::inner_product(a, a + r, centred.data() + j * r, 0.0);
      gram[j * n + i] = gram[i * n + j];
    }
  }
  return gram;
}

double Trace(const Square& m, size_t n) {
  double trace = 0;
  for (size_t i = 0; i < n; ++i) trace += m[i * n + i];
  return trace;
}

void Scale(Square& m, double factor) {
  for (double& value : m) value *= factor;
}

Square Squared(const Square& m, size_t n) {
  Square result(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < n; ++k) {
      const double factor = m[i * n + k];
      for (size_t j = 0; j < n; ++j) result[i * n + j] += factor * m[k * n + j];
    }
  }
  return result;
}

}  // namespace

std::vector<int64_t> DncSample(const std::string& seed, int64_t iteration, int64_t bound,
                               int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(std::min(bound, count)));
  if (count >= bound) {
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  WordStream words(seed, iteration);
  std::set<int64_t> chosen;
  for (int64_t last = bound - count; last < bound; ++last) {
    const auto drawn = static_cast<int64_t>(words.Below(static_cast<uint64_t>(last) + 1));
    if (!chosen.insert(drawn).second) chosen.insert(last);
  }
  std::copy(chosen.begin(), chosen.end(), all.begin());
  return all;
}

std::vector<double> DncScores(const std::vector<float>& matrix, size_t n) {
  const Square gram = Gram(matrix, n);
  const double trace = Trace(gram, n);
  std::vector<double> scores(n, 0.0);
  if (!(trace > 0)) return scores;
  Square power = gram;
  Scale(power, 1.0 / trace);
  for (int i = 0; i < kSquarings; ++i) {
    power = Squared(power, n);
    Scale(power, 1.0 / Trace(power, n));  // at least 1/n of the trace before, squared: not 0
  }
  // Now u u^T. Its column with the largest diagonal is u without loss of digits, times a factor.
  size_t pivot = 0;
  for (size_t i = 1; i < n; ++i) {
    if (power[i * n + i] > power[pivot * n + pivot]) pivot = i;
  }
  const double* u = power.data() + pivot * n;
  const double norm = std::inner_product(u, u + n, u, 0.0);
  double lambda = 0;  // Rayleigh's quotient: sigma^2
  for (size_t i = 0; i < n; ++i) {
    lambda += u[i] * std::inner_product(u, u + n, gram.data() + i * n, 0.0);
  }
  lambda /= norm;
  for (size_t i = 0; i < n; ++i) scores[i] = lambda * u[i] * u[i] / norm;
  return scores;
}

DncFilter::DncFilter(const DncOptions& options, int64_t parameters, size_t updates)
    : updates_(updates) {
  for (int64_t iteration = 0; iteration < options.iterations; ++iteration) {
    samples_.push_back(DncSample(options.seed, iteration, parameters, options.sample_parameters));
    values_.emplace_back(updates * samples_.back().size());
  }
}

void DncFilter::Add(int64_t offset, Rows rows) {
  const int64_t end = offset + static_cast<int64_t>(rows.front().size());
  absl::MutexLock lock(&mutex_);
  for (size_t iteration = 0; iteration < samples_.size(); ++iteration) {
    const std::vector<int64_t>& sample = samples_[iteration];
    const auto first = std::lower_bound(sample.begin(), sample.end(), offset);
    const auto last = std::lower_bound(first, sample.end(), end);
    for (size_t row = 0; row < updates_; ++row) {
      size_t to = row * sample.size() + static_cast<size_t>(first - sample.begin());
      for (auto at = first; at != last; ++at) {
        values_[iteration][to++] = rows[row][static_cast<size_t>(*at - offset)];
      }
    }
  }
}

std::vector<int64_t> DncFilter::TimesDropped(int64_t f) const {
  struct Standing {
    size_t update;
    int64_t dropped = 0;
    double share = 0;  // of the squared projections, over all iterations
  };
  std::vector<Standing> standings(updates_);
  for (size_t i = 0; i < updates_; ++i) standings[i].update = i;
  absl::MutexLock lock(&mutex_);
  for (const std::vector<float>& matrix : values_) {
    const std::vector<double> scores = DncScores(matrix, updates_);
    const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
    if (!(total > 0)) continue;  // nothing varies in this sample: nothing stands out
    std::vector<size_t> order(updates_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&scores](size_t a, size_t b) { return scores[a] > scores[b]; });
    for (size_t i = 0; i < updates_; ++i) standings[i].share += scores[i] / total;
    for (int64_t k = 0; k < f; ++k) ++standings[order[static_cast<size_t>(k)]].dropped;
  }
  std::stable_sort(standings.begin(), standings.end(), [](const Standing& a, const Standing& b) {
    return a.dropped != b.dropped ? a.dropped > b.dropped : a.share > b.share;
  });
  std::vector<int64_t> times(updates_, 0);
  for (size_t k = 0; k < std::min(updates_, static_cast<size_t>(2 * f)); ++k) {
    times[standings[k].update] = standings[k].dropped;
  }
  return times;
}

}  // namespace consilium::aggregation
