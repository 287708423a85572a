#include "aggregation/dnc.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::aggregation {
namespace {

using ::testing::ElementsAre;

using Updates = std::vector<std::vector<float>>;

Updates HonestUpdates(size_t n, size_t parameters, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.01f);
  Updates updates(n, std::vector<float>(parameters));
  for (auto& update : updates) {
    for (float& value : update) value = normal(random);
  }
  return updates;
}

std::vector<int64_t> Dropped(const Updates& updates, const DncOptions& options, int64_t f) {
  DncFilter filter(options, static_cast<int64_t>(updates[0].size()), updates.size());
  const std::vector<absl::Span<const float>> rows(updates.begin(), updates.end());
  filter.Add(0, rows);
  const std::vector<int64_t> times = filter.TimesDropped(f);
  std::vector<int64_t> dropped;
  for (size_t i = 0; i < times.size(); ++i) {
    if (times[i] > 0) dropped.push_back(static_cast<int64_t>(i));
  }
  return dropped;
}

TEST(DncSampleTest, DrawsDifferentParametersFromAllOfTheModel) {
  const std::vector<int64_t> sample = DncSample("seed", 0, 1000, 300);
  ASSERT_EQ(sample.size(), 300u);
  EXPECT_TRUE(std::is_sorted(sample.begin(), sample.end()));
  EXPECT_EQ(std::set<int64_t>(sample.begin(), sample.end()).size(), 300u);
  EXPECT_GE(sample.front(), 0);
  EXPECT_LT(sample.back(), 1000);
  // Of ten equal stretches each has 30 expected; binomial, sigma 4.6 without replacement.
  for (int64_t stretch = 0; stretch < 10; ++stretch) {
    const auto in_it = std::count_if(sample.begin(), sample.end(),
                                     [stretch](int64_t p) { return p / 100 == stretch; });
    EXPECT_NEAR(static_cast<double>(in_it), 30, 5 * 4.6);
  }
}

TEST(DncSampleTest, DependsOnSeedAndIterationAlone) {
  EXPECT_EQ(DncSample("seed", 1, 1 << 20, 100), DncSample("seed", 1, 1 << 20, 100));
  EXPECT_NE(DncSample("seed", 1, 1 << 20, 100), DncSample("seed", 2, 1 << 20, 100));
  EXPECT_NE(DncSample("seed", 1, 1 << 20, 100), DncSample("other", 1, 1 << 20, 100));
}

TEST(DncSampleTest, OfASmallModelTakesAll) {
  EXPECT_THAT(DncSample("seed", 0, 3, 10), ElementsAre(0, 1, 2));
  EXPECT_THAT(DncSample("seed", 0, 3, 3), ElementsAre(0, 1, 2));
}

// A change of this would change which updates past rounds would drop. Computed with Python's
// hashlib and a Floyd's sampling written for it.
TEST(DncSampleTest, KeepsItsStream) {
  EXPECT_THAT(DncSample("consilium", 0, 1000000, 6),
              ElementsAre(478213, 560022, 564098, 885706, 900380, 980519));
  EXPECT_THAT(DncSample("consilium", 2, 1000000, 6),
              ElementsAre(295015, 340473, 481586, 644698, 649118, 760985));
}

// Rows a_i * v + mean with v a unit vector: the projections are (a_i - mean a)^2 exactly.
TEST(DncScoresTest, OfRowsOnOneLineAreTheirSquaredDistancesFromTheMiddle) {
  const std::vector<double> a = {1, 2, 3, 4, -10};
  const std::vector<double> v = {0.6, 0, -0.8};
  std::vector<float> matrix;
  for (const double along : a) {
    for (const double component : v) matrix.push_back(static_cast<float>(along * component + 5));
  }
  const std::vector<double> scores = DncScores(matrix, a.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(scores[i], a[i] * a[i], 1e-4);
}

// Two perpendicular directions of known variance: only the larger one counts.
TEST(DncScoresTest, TakeTheDirectionOfTheLargerSingularValue) {
  const std::vector<float> matrix = {3, 0, -3, 0, 0, 2.9f, 0, -2.9f};
  const std::vector<double> scores = DncScores(matrix, 4);
  EXPECT_NEAR(scores[0], 9, 1e-6);
  EXPECT_NEAR(scores[1], 9, 1e-6);
  EXPECT_NEAR(scores[2], 0, 1e-6);
  EXPECT_NEAR(scores[3], 0, 1e-6);
}

// Against the power method on X_c^T X_c, written out on its own.
TEST(DncScoresTest, AgreeWithThePowerMethod) {
  const size_t n = 9;
  const size_t r = 40;
  std::vector<float> matrix;
  for (const auto& row : HonestUpdates(n, r, 4))
    matrix.insert(matrix.end(), row.begin(), row.end());
  std::vector<double> x(matrix.begin(), matrix.end());
  for (size_t k = 0; k < r; ++k) {
    double mean = 0;
    for (size_t i = 0; i < n; ++i) mean += x[i * r + k] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) x[i * r + k] -= mean;
  }
  std::vector<double> v(r, 1.0);
  std::vector<double> projections(n);
  for (int step = 0; step < 20000; ++step) {
    std::vector<double> next(r, 0.0);
    for (size_t i = 0; i < n; ++i) {
      projections[i] =
          std::inner_product(v.begin(), v.end(), x.begin() + static_cast<long>(i * r), 0.0);
      for (size_t k = 0; k < r; ++k) next[k] += projections[i] * x[i * r + k];
    }
    const double norm = std::sqrt(std::inner_product(next.begin(), next.end(), next.begin(), 0.0));
    for (size_t k = 0; k < r; ++k) v[k] = next[k] / norm;
  }
  const std::vector<double> scores = DncScores(matrix, n);
  for (size_t i = 0; i < n; ++i) {
    EXPECT_NEAR(scores[i], projections[i] * projections[i], 1e-9 + 1e-6 * scores[i]);
  }
}

TEST(DncScoresTest, OfEqualRowsAreZero) {
  EXPECT_THAT(DncScores({1, 2, 1, 2, 1, 2}, 3), ElementsAre(0, 0, 0));
}

TEST(DncFilterTest, DropsThoseWhoConspire) {
  Updates updates = HonestUpdates(11, 5000, 1);
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 0.004f);
  std::vector<float> together(5000);
  for (float& value : together) value = normal(random);
  for (const size_t hostile : {3, 8}) {  // small, but in the same direction
    for (size_t p = 0; p < 5000; ++p) updates[hostile][p] = 3 * together[p] + updates[hostile][p];
  }
  EXPECT_THAT(Dropped(updates, {.seed = "s", .sample_parameters = 1000}, 2), ElementsAre(3, 8));
}

TEST(DncFilterTest, NeverDropsMoreThanTwiceF) {
  const Updates updates = HonestUpdates(9, 4000, 6);  // noise: each sample points elsewhere
  const DncOptions options = {.seed = "s", .sample_parameters = 50, .iterations = 16};
  EXPECT_EQ(Dropped(updates, options, 2).size(), 4u);
  EXPECT_EQ(Dropped(updates, {.seed = "s", .sample_parameters = 50, .iterations = 1}, 2).size(),
            2u);
}

TEST(DncFilterTest, BlocksInAnyOrderGiveTheSameChoice) {
  const Updates updates = HonestUpdates(7, 3000, 8);
  const DncOptions options = {.seed = "s", .sample_parameters = 500};
  DncFilter whole(options, 3000, 7);
  DncFilter parts(options, 3000, 7);
  whole.Add(0, std::vector<absl::Span<const float>>(updates.begin(), updates.end()));
  for (const size_t at : {2000, 0, 1000}) {
    std::vector<absl::Span<const float>> rows;
    for (const auto& update : updates)
      rows.push_back(absl::MakeConstSpan(update).subspan(at, 1000));
    parts.Add(static_cast<int64_t>(at), rows);
  }
  EXPECT_EQ(whole.TimesDropped(3), parts.TimesDropped(3));
}

}  // namespace
}  // namespace consilium::aggregation
