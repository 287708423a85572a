#include "privacy/dp/discrete_noise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/dp/block_sampler.h"
#include "privacy/dp/normal.h"
#include "privacy/dp/poisson_log.h"
#include "privacy/dp/test_random_stream.h"
#include "privacy/dp/test_vectors.h"
#include "privacy/dp/wide.h"

namespace consilium::dp {
namespace {

using nlohmann::json;

constexpr size_t kSamples = 4'000'000;

// How many standard deviations a chi-square statistic is above its mean (Wilson and Hilferty).
double ChiSquareScore(const std::vector<double>& expected, const std::vector<int64_t>& counts) {
  double statistic = 0;
  double cells = -1;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] < 20) {
      // Too few for the statistic; a value that is next to impossible must not be frequent.
      EXPECT_LE(static_cast<double>(counts[i]), expected[i] + 10 * std::sqrt(expected[i]) + 4);
      continue;
    }
    statistic += std::pow(static_cast<double>(counts[i]) - expected[i], 2) / expected[i];
    ++cells;
  }
  const double spread = 2 / (9 * cells);
  return (std::cbrt(statistic / cells) - (1 - spread)) / std::sqrt(spread);
}

// Values -8 .. 8 one by one, and all others in one cell, against a symmetric distribution.
void ExpectDistribution(const json& pmf, const std::vector<int64_t>& values) {
  std::vector<int64_t> counts(18, 0);
  for (const int64_t value : values) ++counts[std::abs(value) <= 8 ? value + 8 : 17];
  std::vector<double> expected(18, 0.0);
  double rest = 1;
  for (int64_t y = -8; y <= 8; ++y) {
    const double probability = pmf[static_cast<size_t>(std::abs(y))];
    expected[y + 8] = probability * static_cast<double>(values.size());
    rest -= probability;
  }
  expected[17] = std::max(0.0, rest) * static_cast<double>(values.size());
  EXPECT_LT(std::abs(ChiSquareScore(expected, counts)), 5) << pmf.dump();
}

double Variance(const std::vector<int64_t>& values) {
  double sum = 0;
  double squares = 0;
  for (const int64_t value : values) {
    const auto y = static_cast<double>(value);
    sum += y;
    squares += y * y;
  }
  const auto count = static_cast<double>(values.size());
  EXPECT_LT(std::abs(sum / count), 6 * std::sqrt(squares / count / count));
  return squares / count;
}

// 128 cells of equal probability under a normal distribution, which a wide grid cannot be told
// from.
double NormalScore(double sigma, const std::vector<int64_t>& values) {
  constexpr size_t kCells = 128;
  std::vector<int64_t> counts(kCells, 0);
  for (const int64_t value : values) {
    const double above = NormalAbove((static_cast<double>(value)) / sigma);
    ++counts[std::min(kCells - 1, static_cast<size_t>(above * kCells))];
  }
  const std::vector<double> expected(kCells, static_cast<double>(values.size()) / kCells);
  return ChiSquareScore(expected, counts);
}

template <typename Noise>
std::vector<int64_t> Draw(const absl::StatusOr<Noise>& noise, size_t count, uint64_t seed) {
  EXPECT_TRUE(noise.ok()) << noise.status();
  RandomStream random = SeededRandomStream(seed);
  std::vector<int64_t> values(count);
  noise->Sample(random, absl::MakeSpan(values));
  return values;
}

TEST(DiscreteNoiseTest, GaussianHasTheProbabilitiesOfTheVectors) {
  CSL_DP_VECTORS_OR_SKIP(vectors);
  for (const json& v : (*vectors)["discrete_gaussian_pmf"]) {
    const auto values =
        Draw(DiscreteGaussian::Create(std::sqrt(v["sigma2"].get<double>())), kSamples, 1);
    ExpectDistribution(v["pmf_0_to_8"], values);
    EXPECT_NEAR(Variance(values) / v["variance"].get<double>(), 1, 0.005);
  }
}

TEST(DiscreteNoiseTest, SkellamHasTheProbabilitiesOfTheVectors) {
  CSL_DP_VECTORS_OR_SKIP(vectors);
  for (const json& v : (*vectors)["skellam_pmf"]) {
    ASSERT_EQ(v["mu1"], v["mu2"]);
    const auto values = Draw(Skellam::Create(v["variance"]), kSamples, 2);
    ExpectDistribution(v["pmf_0_to_8"], values);
    EXPECT_NEAR(Variance(values) / v["variance"].get<double>(), 1, 0.005);
  }
}

TEST(DiscreteNoiseTest, WidthsAroundTheBlockSizeKeepTheShape) {
  for (const double sigma : {3.0, 5.9, 6.1, 9.7, 23.0}) {
    std::vector<double> pmf(static_cast<size_t>(16 * sigma));
    double total = 0;
    for (size_t y = 0; y < pmf.size(); ++y) {
      pmf[y] = std::exp(-static_cast<double>(y * y) / (2 * sigma * sigma));
      total += (y == 0 ? 1 : 2) * pmf[y];
    }
    std::vector<int64_t> counts(2 * pmf.size() - 1, 0);
    std::vector<double> expected(counts.size());
    const auto middle = static_cast<int64_t>(pmf.size() - 1);
    for (const int64_t value : Draw(DiscreteGaussian::Create(sigma), kSamples / 4, 3)) {
      ASSERT_LE(std::abs(value), middle);
      ++counts[static_cast<size_t>(value + middle)];
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto y = static_cast<size_t>(std::abs(static_cast<int64_t>(i) - middle));
      expected[i] = pmf[y] / total * (kSamples / 4.0);
    }
    EXPECT_LT(std::abs(ChiSquareScore(expected, counts)), 5) << sigma;
  }
}

TEST(DiscreteNoiseTest, WideNoiseIsNormal) {
  for (const double sigma : {1e4, 1e6, 3e8, 1e12}) {
    const auto values = Draw(DiscreteGaussian::Create(sigma), kSamples / 4, 4);
    EXPECT_LT(std::abs(NormalScore(sigma, values)), 5) << sigma;
    EXPECT_NEAR(Variance(values) / (sigma * sigma), 1, 0.01) << sigma;
  }
  for (const double sigma : {1e4, 1e6, 3e7}) {
    const auto values = Draw(Skellam::Create(sigma * sigma), kSamples / 4, 5);
    EXPECT_LT(std::abs(NormalScore(sigma, values)), 5) << sigma;
    EXPECT_NEAR(Variance(values) / (sigma * sigma), 1, 0.01) << sigma;
  }
}

TEST(DiscreteNoiseTest, LowBitsOfWideNoiseAreFair) {
  int64_t ones = 0;
  int64_t thirds = 0;
  for (const int64_t value : Draw(DiscreteGaussian::Create(1e6), kSamples / 4, 6)) {
    ones += value & 1;
    thirds += value % 3 == 0 ? 1 : 0;
  }
  const double count = kSamples / 4.0;
  EXPECT_LT(std::abs(static_cast<double>(ones) - count / 2), 5 * std::sqrt(count / 4));
  EXPECT_LT(std::abs(static_cast<double>(thirds) - count / 3), 5 * std::sqrt(count * 2 / 9));
}

TEST(DiscreteNoiseTest, TinyNoiseIsZeroAndBadParametersAreRefused) {
  for (const int64_t value : Draw(DiscreteGaussian::Create(kGridSigmaMin), 1000, 7)) {
    EXPECT_EQ(value, 0);
  }
  Draw(DiscreteGaussian::Create(kGaussianSigmaMax), 1000, 7);
  Draw(Skellam::Create(kSkellamVarianceMax), 1000, 7);
  Draw(Skellam::Create(kGridSigmaMin * kGridSigmaMin), 1000, 7);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {nan, -1.0, 0.0, 1e300}) {
    EXPECT_FALSE(DiscreteGaussian::Create(bad).ok());
    EXPECT_FALSE(Skellam::Create(bad).ok());
  }
}

TEST(DiscreteNoiseTest, StreamsRepeatOnlyWithTheirSeed) {
  const auto noise = DiscreteGaussian::Create(100);
  EXPECT_EQ(Draw(noise, 100, 8), Draw(noise, 100, 8));
  EXPECT_NE(Draw(noise, 100, 8), Draw(noise, 100, 9));
  RandomStream one;
  RandomStream other;
  EXPECT_NE(one.Next(), other.Next());
}

// A distribution whose double values are useless, so that the wide path decides nearly always.
class CoarseTarget {
 public:
  static constexpr uint64_t kMargin = uint64_t{1} << 62;
  double Log(int64_t y) const { return -static_cast<double>(y * y) / 200; }
  Wide LogWide(int64_t y) const { return -static_cast<Wide>(y * y) / 200; }
  double Drop(const Block& block, int64_t y) const { return block.log_edge - Log(y); }
  int64_t lowest() const { return -1000; }
};

TEST(BlockSamplerTest, ComparisonWithManyBitsDecidesAlike) {
  const BlockSampler<CoarseTarget> sampler(CoarseTarget(), 5);
  RandomStream random = SeededRandomStream(10);
  std::vector<int64_t> counts(121, 0);
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const int64_t value = sampler.Draw(random);
    ASSERT_LE(std::abs(value), 60);
    ++counts[static_cast<size_t>(value + 60)];
  }
  std::vector<double> expected(121);
  for (int64_t y = -60; y <= 60; ++y) {
    expected[y + 60] =
        kDraws * std::exp(-static_cast<double>(y * y) / 200) / (10 * std::sqrt(2 * M_PI));
  }
  EXPECT_LT(std::abs(ChiSquareScore(expected, counts)), 5);
}

TEST(WideTest, ExponentialAndLogarithmAgreeBeyondDouble) {
  const Wide e = WideExp(1);
  // e to 34 digits, in three pieces that are exact enough.
  const Wide known =
      Wide(2.718281828459045) + Wide(1.4456468917292502e-16) + Wide(-2.1277171080381768e-33);
  EXPECT_LT(std::abs(static_cast<double>(e - known)), 1e-32);
  for (const double x : {1e-9, 0.1, 0.5, 1.0, 2.0, 77.7, 1e12}) {
    EXPECT_NEAR(static_cast<double>(WideLog(x)), std::log(x),
                1e-14 * std::abs(std::log(x)) + 1e-16);
    EXPECT_LT(std::abs(static_cast<double>(WideExp(WideLog(x)) / x - 1)), 1e-30) << x;
  }
  for (const double x : {-83.0, -3.5, 0.0, 0.25, 40.0}) {
    EXPECT_NEAR(static_cast<double>(WideExp(x)) / std::exp(x), 1, 1e-14);
  }
}

TEST(PoissonLogTest, BothPrecisionsAgreeAndMatchTheDefinition) {
  const Wide log_two_pi = WideLog(Wide(2 * M_PI) + Wide(2.4492935982947064e-16));
  for (const double lambda : {0.3, 3.0, 50.0, 63.9, 64.5, 1000.0, 5e11}) {
    const double deviation = std::sqrt(lambda);
    double total = 0;
    for (double x = -8; x <= 8; x += lambda < 2000 ? 1 / deviation : 0.5) {
      const auto k = static_cast<int64_t>(std::floor(lambda + x * deviation + 1e-9));
      if (k < 0) continue;
      const double narrow = PoissonLog<double>(k, lambda, std::log(lambda), std::log(2 * M_PI));
      const Wide wide = PoissonLog<Wide>(k, lambda, WideLog(lambda), log_two_pi);
      EXPECT_NEAR(static_cast<double>(wide), narrow, 1e-12) << lambda << " " << k;
      if (lambda < 2000) {
        const double kd = static_cast<double>(k);
        EXPECT_NEAR(narrow, kd * std::log(lambda) - lambda - std::lgamma(kd + 1), 1e-9);
        total += std::exp(narrow);
      }
    }
    if (lambda < 2000 && lambda > 10) {
      EXPECT_NEAR(total, 1, 1e-9) << lambda;
    }
  }
  // The two formulas meet.
  const Wide lambda = 64;
  const Wide ratio = PoissonLog<Wide>(64, lambda, WideLog(lambda), log_two_pi) -
                     PoissonLog<Wide>(63, lambda, WideLog(lambda), log_two_pi);
  EXPECT_LT(std::abs(static_cast<double>(ratio)), 1e-30);
}

}  // namespace
}  // namespace consilium::dp
