#include "aggregation/column_rules.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "aggregation/sorting_network.h"
#include "gtest/gtest.h"

namespace consilium::aggregation {
namespace {

using Updates = std::vector<std::vector<float>>;

Updates RandomUpdates(size_t n, size_t parameters, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.01f);
  Updates updates(n, std::vector<float>(parameters));
  for (auto& update : updates) {
    for (float& value : update) value = normal(random);
  }
  return updates;
}

std::vector<absl::Span<const float>> RowsOf(const Updates& updates) {
  return {updates.begin(), updates.end()};
}

std::vector<float> SortedColumn(const Updates& updates, size_t parameter) {
  std::vector<float> column;
  for (const auto& update : updates) column.push_back(update[parameter]);
  std::sort(column.begin(), column.end());
  return column;
}

// A network that sorts every sequence of zeros and ones sorts everything (Knuth 5.3.4, theorem Z).
TEST(SortingNetworkTest, SortsEverySequenceOfZerosAndOnes) {
  for (size_t n = 1; n <= 16; ++n) {
    for (uint32_t bits = 0; bits < (1u << n); ++bits) {
      std::vector<uint32_t> values(n);
      for (size_t i = 0; i < n; ++i) values[i] = bits >> i & 1;
      VisitNetwork(n, [&values](size_t low, size_t high) {
        if (values[low] > values[high]) std::swap(values[low], values[high]);
      });
      ASSERT_TRUE(std::is_sorted(values.begin(), values.end())) << n << " values, case " << bits;
    }
  }
}

// Through both ways of sorting, and with columns left over behind the last whole register.
TEST(ColumnRulesTest, AgreeWithSortingEachColumn) {
  for (const size_t n : {1, 2, 3, 4, 7, 10, 11, 16, 23, 24, 25, 40, 201, 512}) {
    const size_t parameters = n < 30 ? 1027 : 131;
    const Updates updates = RandomUpdates(n, parameters, static_cast<uint32_t>(n));
    const size_t trim = (n - 1) / 3;
    std::vector<float> median(parameters);
    std::vector<float> trimmed(parameters);
    ASSERT_TRUE(Median(RowsOf(updates), absl::MakeSpan(median)).ok());
    ASSERT_TRUE(
        TrimmedMean(RowsOf(updates), static_cast<int64_t>(trim), absl::MakeSpan(trimmed)).ok());
    for (size_t p = 0; p < parameters; ++p) {
      const std::vector<float> column = SortedColumn(updates, p);
      const float middle = n % 2 == 1 ? column[n / 2] : (column[n / 2 - 1] + column[n / 2]) * 0.5f;
      ASSERT_EQ(median[p], middle) << n << " updates, parameter " << p;
      const double sum = std::accumulate(column.begin() + static_cast<long>(trim),
                                         column.end() - static_cast<long>(trim), 0.0);
      const double mean = sum / static_cast<double>(n - 2 * trim);
      ASSERT_NEAR(trimmed[p], mean, 1e-9) << n << " updates, parameter " << p;
    }
  }
}

TEST(ColumnRulesTest, OrderOfTheUpdatesAndBlocksDoNotChangeABit) {
  Updates updates = RandomUpdates(11, 500, 3);
  updates[2][7] = -0.0f;
  for (auto& update : updates) update[9] = 0.0f;
  updates[4][9] = -0.0f;
  updates[0][9] = -0.0f;
  const auto both = [](const Updates& of, size_t block) {
    std::vector<float> result(1000);
    for (size_t at = 0; at < 500; at += block) {
      std::vector<absl::Span<const float>> rows;
      const size_t count = std::min(block, 500 - at);
      for (const auto& update : of) rows.push_back(absl::MakeConstSpan(update).subspan(at, count));
      EXPECT_TRUE(Median(rows, absl::MakeSpan(result).subspan(at, count)).ok());
      EXPECT_TRUE(TrimmedMean(rows, 3, absl::MakeSpan(result).subspan(500 + at, count)).ok());
    }
    return std::string(reinterpret_cast<const char*>(result.data()), 4000);
  };
  const std::string whole = both(updates, 500);
  std::reverse(updates.begin(), updates.end());
  EXPECT_EQ(both(updates, 33), whole);
}

TEST(ColumnRulesTest, HostileValuesBelowTheBreakdownPointStayWithinTheHonestOnes) {
  Updates updates = RandomUpdates(11, 64, 5);
  for (size_t hostile = 0; hostile < 2; ++hostile) {
    for (float& value : updates[hostile]) value = hostile == 0 ? 3e38f : -3e38f;
  }
  const Updates honest(updates.begin() + 2, updates.end());
  std::vector<float> median(64);
  std::vector<float> trimmed(64);
  ASSERT_TRUE(Median(RowsOf(updates), absl::MakeSpan(median)).ok());
  ASSERT_TRUE(TrimmedMean(RowsOf(updates), 2, absl::MakeSpan(trimmed)).ok());
  for (size_t p = 0; p < 64; ++p) {
    const std::vector<float> column = SortedColumn(honest, p);
    EXPECT_GE(median[p], column.front());
    EXPECT_LE(median[p], column.back());
    EXPECT_GE(trimmed[p], column.front());
    EXPECT_LE(trimmed[p], column.back());
  }
}

TEST(ColumnRulesTest, WeightedSumLeavesOutWhatHasNoFactor) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Updates updates = {{1, 2, 3}, {nan, nan, nan}, {10, 20, 30}};
  std::vector<float> sum(3);
  ASSERT_TRUE(WeightedSum(RowsOf(updates), {0.5, 0.0, 0.25}, absl::MakeSpan(sum)).ok());
  EXPECT_EQ(sum, (std::vector<float>{3, 6, 9}));
}

TEST(ColumnRulesTest, RefuseWhatDoesNotFit) {
  const Updates updates = {{1, 2}, {3, 4}, {5, 6}};
  std::vector<float> out(2);
  std::vector<float> longer(3);
  EXPECT_FALSE(Median({}, absl::MakeSpan(out)).ok());
  EXPECT_FALSE(Median(RowsOf(updates), absl::MakeSpan(longer)).ok());
  EXPECT_FALSE(TrimmedMean(RowsOf(updates), 2, absl::MakeSpan(out)).ok());
  EXPECT_FALSE(TrimmedMean(RowsOf(updates), -1, absl::MakeSpan(out)).ok());
  EXPECT_FALSE(WeightedSum(RowsOf(updates), {1.0, 1.0}, absl::MakeSpan(out)).ok());
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(WeightedSum(RowsOf(updates), {1.0, 1.0, infinity}, absl::MakeSpan(out)).ok());
  const Updates many(kRowsMax + 1, std::vector<float>(2));
  EXPECT_FALSE(Median(RowsOf(many), absl::MakeSpan(out)).ok());
}

}  // namespace
}  // namespace consilium::aggregation
