#include "privacy/secagg/quantise.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/secagg/hadamard.h"
#include "privacy/secagg/protocol.h"

namespace consilium::secagg {
namespace {

const std::string& Seed() {
  static const auto* const seed = new std::string(32, 's');
  return *seed;
}

Quantiser Make(QuantiserSpec spec, uint32_t bits, size_t sites, uint64_t parameters) {
  auto quantiser = Quantiser::Create({.spec = std::move(spec),
                                      .bits = bits,
                                      .sites = sites,
                                      .parameters = parameters,
                                      .rotation_seed = Seed()});
  EXPECT_TRUE(quantiser.ok()) << quantiser.status();
  return *std::move(quantiser);
}

QuantiserSpec Spec(double clip, uint64_t divisor) {
  QuantiserSpec spec;
  spec.clip = clip;
  spec.divisor = divisor;
  return spec;
}

QuantiserSpec Rotated(double clip, uint64_t divisor) {
  QuantiserSpec spec = Spec(clip, divisor);
  spec.rotation_block = 1024;
  spec.rounding = Rounding::kStochastic;
  return spec;
}

std::vector<float> Normal(size_t size, float sigma, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> values(size);
  for (float& value : values) value = normal(generator);
  return values;
}

template <typename Word>
std::vector<Word> Encode(const Quantiser& quantiser, uint32_t weight,
                         const std::vector<float>& values, uint64_t& saturated,
                         absl::string_view rounding_seed = "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr") {
  std::vector<Word> words(quantiser.padded_parameters());
  const absl::Status status = quantiser.Encode({.weight = weight, .rounding_seed = rounding_seed},
                                               0, values, {}, absl::MakeSpan(words), saturated);
  EXPECT_TRUE(status.ok()) << status;
  return words;
}

// The weighted mean of updates over the whole path, and the exact one; their relative L2 distance.
template <typename Word>
double RelativeError(const Quantiser& quantiser, const std::vector<uint32_t>& weights,
                     const std::vector<std::vector<float>>& updates) {
  std::vector<Word> sum(quantiser.padded_parameters());
  uint64_t weight_sum = 0;
  std::vector<double> exact(quantiser.parameters());
  for (size_t i = 0; i < updates.size(); ++i) {
    uint64_t saturated = 0;
    const std::string rounding(32, static_cast<char>('a' + i));
    const auto words = Encode<Word>(quantiser, weights[i], updates[i], saturated, rounding);
    EXPECT_EQ(saturated, 0u);
    for (size_t w = 0; w < sum.size(); ++w) sum[w] = static_cast<Word>(sum[w] + words[w]);
    for (size_t p = 0; p < exact.size(); ++p) {
      exact[p] += weights[i] * static_cast<double>(updates[i][p]);
    }
    weight_sum += weights[i];
  }
  std::vector<float> means(quantiser.parameters());
  EXPECT_TRUE(
      quantiser.Decode(weight_sum, 0, absl::Span<const Word>(sum), absl::MakeSpan(means)).ok());
  double error = 0;
  double norm = 0;
  for (size_t p = 0; p < exact.size(); ++p) {
    const double mean = exact[p] / static_cast<double>(weight_sum);
    error += (means[p] - mean) * (means[p] - mean);
    norm += mean * mean;
  }
  return std::sqrt(error / norm);
}

TEST(QuantiserSpecTest, TextHasOneForm) {
  QuantiserSpec spec = Spec(0.05, 354);
  EXPECT_EQ(spec.ToText(), "clip=0.05;D=354;lanes=2");
  spec.metrics = {"dice", "loss"};
  spec.rotation_block = 16384;
  spec.rounding = Rounding::kStochastic;
  EXPECT_EQ(spec.ToText(),
            "clip=0.05;D=354;lanes=10;metrics=dice,loss;rotate=16384;round=stochastic");
  EXPECT_EQ(*QuantiserSpec::Parse(spec.ToText()), spec);
  EXPECT_EQ(spec.Words(20'000), 2 * 16384 + 10u);
}

TEST(QuantiserSpecTest, EverythingElseIsRefused) {
  for (const char* text : {"",
                           "clip=0.05",
                           "clip=0.05;D=354",
                           "clip=0.050;D=354;lanes=2",
                           "clip=.05;D=354;lanes=2",
                           "clip=5e-2;D=354;lanes=2",
                           "D=354;clip=0.05;lanes=2",
                           "clip=0.05;D=354;lanes=3",
                           "clip=0.05;D=0354;lanes=2",
                           "clip=0.05;D=354;lanes=2;",
                           "clip=0.05;D=354;lanes=2;lanes=2",
                           "clip=-1;D=354;lanes=2",
                           "clip=0;D=354;lanes=2",
                           "clip=inf;D=354;lanes=2",
                           "clip=nan;D=354;lanes=2",
                           "clip=0.05;D=0;lanes=2",
                           "clip=0.05;D=-1;lanes=2",
                           "clip=0.05;D=99999999999999999999;lanes=2",
                           "clip=0.05;D=354;lanes=2;round=nearest",
                           "clip=0.05;D=354;lanes=2;rotate=1000",
                           "clip=0.05;D=354;lanes=2;rotate=32",
                           "clip=0.05;D=354;lanes=6;metrics=",
                           "clip=0.05;D=354;lanes=10;metrics=a,a",
                           "clip=0.05;D=354;lanes=6;metrics=A",
                           "clip=0.05;D=354;lanes=2;x=1"}) {
    EXPECT_FALSE(QuantiserSpec::Parse(text).ok()) << text;
  }
  EXPECT_FALSE(QuantiserSpec::Parse(std::string(kQuantiserBytesMax + 1, 'x')).ok());
}

TEST(QuantiseTest, HalvesGoToTheEvenInteger) {
  // With D = weight and step s, x = k * s / 2 is halfway for odd k.
  const Quantiser quantiser = Make(Spec(1, 1), 16, 3, 5);
  const auto half = static_cast<float>(quantiser.step() / 2);
  uint64_t saturated = 0;
  // Steps are no powers of two, so only about: 0.999 and 1.001 halves fall to both sides.
  const auto words = Encode<uint16_t>(
      quantiser, 1, {0.999f * half, 1.001f * half, -0.999f * half, -1.001f * half, 0.0f},
      saturated);
  EXPECT_EQ(words, (std::vector<uint16_t>{0, 1, 0, 0xffff, 0}));
}

TEST(QuantiseTest, SumNeverLeavesTheRingWhenAllSitesSendTheBound) {
  for (const size_t sites : {size_t{3}, size_t{10}, size_t{255}}) {
    const Quantiser quantiser = Make(Spec(0.05, sites * 7), 16, sites, 2);
    uint64_t saturated = 0;
    uint16_t high = 0;
    for (size_t i = 0; i < sites; ++i) {
      high =
          static_cast<uint16_t>(high + Encode<uint16_t>(quantiser, 7, {1.0f, -1.0f}, saturated)[0]);
    }
    EXPECT_EQ(saturated, 2 * sites);
    EXPECT_GT(high, 32'000);
    EXPECT_LT(high, 32'768);
    std::vector<float> means(2);
    ASSERT_TRUE(
        quantiser.Decode(sites * 7, 0, std::vector<uint16_t>{high, 0}, absl::MakeSpan(means)).ok());
    EXPECT_NEAR(means[0], 0.05, quantiser.ErrorBound(sites * 7, sites));
  }
}

TEST(QuantiseTest, ValuesThatAreNotFiniteAreRefused) {
  const Quantiser quantiser = Make(Spec(1, 100), 32, 3, 3);
  std::vector<uint32_t> words(3);
  uint64_t saturated = 0;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(quantiser
                  .Encode({.weight = 1, .rounding_seed = {}}, 0, std::vector<float>{0, bad, 0}, {},
                          absl::MakeSpan(words), saturated)
                  .code(),
              absl::StatusCode::kInvalidArgument);
  }
  const Quantiser rotated = Make(Rotated(1, 100), 16, 3, 1024);
  std::vector<uint16_t> short_words(1024);
  EXPECT_EQ(rotated
                .Encode({.weight = 1, .rounding_seed = Seed()}, 0,
                        std::vector<float>(1024, std::numeric_limits<float>::max()), {},
                        absl::MakeSpan(short_words), saturated)
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(QuantiseTest, WeightsBeyondTheirLimitsAreRefused) {
  const Quantiser quantiser = Make(Spec(1, 100), 32, 3, 1);
  std::vector<uint32_t> words(1);
  std::vector<uint32_t> lanes(2);
  uint64_t saturated = 0;
  for (const uint32_t weight : {0u, 101u, kWeightMax + 1}) {
    EXPECT_FALSE(quantiser
                     .Encode({.weight = weight, .rounding_seed = {}}, 0, std::vector<float>{0}, {},
                             absl::MakeSpan(words), saturated)
                     .ok());
    EXPECT_FALSE(quantiser.EncodeLanes(weight, {}, absl::MakeSpan(lanes)).ok());
  }
}

TEST(QuantiseTest, NoiseIsAddedInTheRing) {
  const Quantiser quantiser = Make(Spec(1, 100), 32, 3, 3);
  uint64_t saturated = 0;
  const std::vector<float> values = {0.5f, -0.25f, 0.0f};
  const auto plain = Encode<uint32_t>(quantiser, 50, values, saturated);
  std::vector<uint32_t> noisy(3);
  const std::vector<int64_t> noise = {-5, int64_t{1} << 31, 7};
  ASSERT_TRUE(quantiser
                  .Encode({.weight = 50, .rounding_seed = {}}, 0, values, noise,
                          absl::MakeSpan(noisy), saturated)
                  .ok());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(noisy[i], static_cast<uint32_t>(plain[i] + static_cast<uint32_t>(noise[i])));
  }
  EXPECT_EQ(quantiser
                .Encode({.weight = 50, .rounding_seed = {}}, 0, values, std::vector<int64_t>(2),
                        absl::MakeSpan(noisy), saturated)
                .code(),
            absl::StatusCode::kOutOfRange);
}

TEST(QuantiseTest, MeanIsCloseWith32Bits) {
  const std::vector<uint32_t> weights = {10, 200, 35};
  std::vector<std::vector<float>> updates;
  for (uint32_t i = 0; i < 3; ++i) updates.push_back(Normal(10'000, 1e-3f, i));
  EXPECT_LT(RelativeError<uint32_t>(Make(Spec(1, 245), 32, 3, 10'000), weights, updates), 1e-6);
}

TEST(QuantiseTest, MeanIsCloseWith16BitsAndRotation) {
  const std::vector<uint32_t> weights(10, 20);
  std::vector<std::vector<float>> updates;
  for (uint32_t i = 0; i < 10; ++i) {
    updates.push_back(Normal(10'000, 1e-3f, i));
    for (size_t p = 0; p < 10'000; p += 500) updates.back()[p] *= 12;  // heavy tails
  }
  // C of 5 root mean squares of a single update; the means are smaller by sqrt(10).
  const Quantiser quantiser = Make(Rotated(7e-3, 200), 16, 10, 10'000);
  EXPECT_EQ(quantiser.padded_parameters(), 10'240u);
  EXPECT_LT(RelativeError<uint16_t>(quantiser, weights, updates), 3e-3);
}

TEST(QuantiseTest, BlocksComeOutTheSameInAnyOrderAndOneByOne) {
  const Quantiser quantiser = Make(Rotated(0.05, 100), 16, 3, 5'000);
  const std::vector<float> values = Normal(5'000, 1e-2f, 7);
  uint64_t saturated = 0;
  const auto whole = Encode<uint16_t>(quantiser, 33, values, saturated);
  ASSERT_EQ(whole.size(), 5'120u);
  std::vector<uint16_t> pieces(whole.size());
  const absl::Span<const float> all = values;
  for (const size_t offset : {4096, 0, 2048, 1024, 3072}) {
    const absl::Span<const float> block = all.subspan(offset, 1024);
    ASSERT_TRUE(
        quantiser
            .Encode({.weight = 33, .rounding_seed = "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"}, offset,
                    block, {},
                    absl::MakeSpan(pieces).subspan(offset, quantiser.WordsOf(offset, block.size())),
                    saturated)
            .ok());
  }
  EXPECT_EQ(pieces, whole);
  std::vector<float> together(5'000);
  ASSERT_TRUE(quantiser.Decode(33, 0, whole, absl::MakeSpan(together)).ok());
  std::vector<float> tail(904);
  ASSERT_TRUE(
      quantiser
          .Decode(33, 4096, absl::Span<const uint16_t>(whole).subspan(4096), absl::MakeSpan(tail))
          .ok());
  EXPECT_EQ(tail, std::vector<float>(together.begin() + 4096, together.end()));
}

TEST(QuantiseTest, PartsThatAreNotWholeBlocksAreRefused) {
  const Quantiser quantiser = Make(Rotated(0.05, 100), 16, 3, 5'000);
  std::vector<uint16_t> words(2048);
  uint64_t saturated = 0;
  for (const auto& [offset, values, size] : {std::tuple(512, 1024, 1024),
                                             {0, 1000, 1000},
                                             {0, 1024, 1023},
                                             {4096, 1024, 1024},
                                             {5120, 1, 1}}) {
    EXPECT_EQ(
        quantiser
            .Encode({.weight = 1, .rounding_seed = Seed()}, offset, std::vector<float>(values), {},
                    absl::MakeSpan(words).subspan(0, size), saturated)
            .code(),
        absl::StatusCode::kOutOfRange);
  }
}

TEST(QuantiseTest, StochasticRoundingHasNoBias) {
  QuantiserSpec spec = Spec(1, 1);
  spec.rounding = Rounding::kStochastic;
  const size_t size = 100'000;
  const Quantiser quantiser = Make(spec, 16, 3, size);
  uint64_t saturated = 0;
  const std::vector<float> values(size, static_cast<float>(quantiser.step() * 10.3));
  const auto words = Encode<uint16_t>(quantiser, 1, values, saturated);
  double sum = 0;
  for (const uint16_t word : words) {
    EXPECT_TRUE(word == 10 || word == 11);
    sum += word;
  }
  // Standard deviation sqrt(0.3 * 0.7 / size) = 0.00145; six of them.
  EXPECT_NEAR(sum / size, 10.3, 0.009);
}

TEST(QuantiseTest, LanesCarryWeightAndMetrics) {
  QuantiserSpec spec = Spec(1, 255 * kWeightMax);
  spec.metrics = {"dice", "loss"};
  const Quantiser quantiser = Make(spec, 16, 255, 10);
  std::vector<uint16_t> sum(10);
  for (int i = 0; i < 255; ++i) {
    std::vector<uint16_t> lanes(10);
    ASSERT_TRUE(quantiser.EncodeLanes(kWeightMax, {0.875, kMetricMax}, absl::MakeSpan(lanes)).ok());
    for (size_t k = 0; k < 10; ++k) sum[k] = static_cast<uint16_t>(sum[k] + lanes[k]);
  }
  const auto decoded = quantiser.DecodeLanes(sum, 255);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->weight, uint64_t{255} * kWeightMax);
  EXPECT_EQ(decoded->metrics, (std::vector<double>{255 * 0.875, 255 * kMetricMax}));
}

TEST(QuantiseTest, MetricsOutOfRangeAreRefused) {
  QuantiserSpec spec = Spec(1, 100);
  spec.metrics = {"loss"};
  const Quantiser quantiser = Make(spec, 32, 3, 10);
  std::vector<uint32_t> lanes(6);
  for (const double bad :
       {-1.0, kMetricMax + 1, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_FALSE(quantiser.EncodeLanes(1, {bad}, absl::MakeSpan(lanes)).ok());
  }
  EXPECT_FALSE(quantiser.EncodeLanes(1, {}, absl::MakeSpan(lanes)).ok());
}

TEST(QuantiseTest, LanesOfMasksThatDidNotCancelAreNoticed) {
  const Quantiser quantiser = Make(Spec(1, 1000), 32, 3, 10);
  EXPECT_EQ(quantiser.DecodeLanes(std::vector<uint32_t>{0x8f3a1b22, 0x12}, 3).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(quantiser.DecodeLanes(std::vector<uint32_t>{0, 0}, 3).ok());
  EXPECT_FALSE(quantiser.DecodeLanes(std::vector<uint32_t>{255, 3}, 3).ok());  // above D
  EXPECT_EQ(quantiser.DecodeLanes(std::vector<uint32_t>{231, 3}, 3)->weight, 999u);
}

TEST(HadamardTest, IsTheSylvesterMatrixAndItsOwnInverse) {
  std::vector<float> block = {1, 2, 3, 4};
  Hadamard(absl::MakeSpan(block));
  EXPECT_EQ(block, (std::vector<float>{5, -1, -2, 0}));
  Hadamard(absl::MakeSpan(block));
  EXPECT_EQ(block, (std::vector<float>{1, 2, 3, 4}));
}

TEST(HadamardTest, SignsAreTheSameAtAnyOffsetAndHalfOfThemNegative) {
  RotationSigns signs(Seed());
  std::vector<float> whole(4096, 1.0f);
  signs.Apply(0, absl::MakeSpan(whole));
  std::vector<float> part(1024, 1.0f);
  signs.Apply(1024 + 64, absl::MakeSpan(part));
  EXPECT_EQ(part, std::vector<float>(whole.begin() + 1088, whole.begin() + 2112));
  float sum = 0;
  for (const float sign : whole) sum += sign;
  EXPECT_LT(std::abs(sum), 6 * 64);  // six standard deviations
}

}  // namespace
}  // namespace consilium::secagg
