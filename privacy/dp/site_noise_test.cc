#include "privacy/dp/site_noise.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/dp/test_random_stream.h"

namespace consilium::dp {
namespace {

constexpr int64_t kDimensions = 1 << 16;

DistributedSetting Setting(DistributedMechanism mechanism, double noise_multiplier) {
  return {.mechanism = mechanism,
          .clip = 1,
          .grid = 1e-3,
          .dimensions = kDimensions,
          .sites = 4,
          .threshold = 3,
          .noise_multiplier = noise_multiplier,
          .rounds = 1};
}

std::vector<float> Update(double norm) {
  std::vector<float> update(kDimensions);
  double squares = 0;
  for (size_t i = 0; i < update.size(); ++i) {
    update[i] = std::sin(0.7f * static_cast<float>(i));
    squares += update[i] * update[i];
  }
  for (float& value : update) value *= static_cast<float>(norm / std::sqrt(squares));
  return update;
}

TEST(SiteNoiseTest, TheSumOfTheSharesIsTheUpdatesPlusTheNoisePromised) {
  for (const auto mechanism :
       {DistributedMechanism::kDiscreteGaussian, DistributedMechanism::kSkellam}) {
    const DistributedSetting setting = Setting(mechanism, 2);
    const auto site = SiteNoise::Create(setting);
    ASSERT_TRUE(site.ok()) << site.status();
    RandomStream random = SeededRandomStream(3);
    const std::vector<float> update = Update(0.8);
    std::vector<int64_t> sum(kDimensions, 0);
    std::vector<int64_t> share(kDimensions);
    for (int64_t i = 0; i < setting.threshold; ++i) {
      ASSERT_TRUE(site->Encode(update, random, absl::MakeSpan(share)).ok());
      for (size_t k = 0; k < sum.size(); ++k) sum[k] += share[k];
    }
    double squares = 0;
    double along = 0;
    for (size_t k = 0; k < sum.size(); ++k) {
      const double noise = static_cast<double>(sum[k]) * setting.grid -
                           static_cast<double>(setting.threshold) * update[k];
      squares += noise * noise;
      along += noise * update[k];
    }
    EXPECT_NEAR(std::sqrt(squares / kDimensions), 2, 0.03);
    EXPECT_LT(std::abs(along / 0.8), 5 * 2);  // no bias along the update
  }
}

TEST(SiteNoiseTest, RoundingKeepsTheMeanAndTheBound) {
  // Noise of a twentieth of a grid step is none.
  DistributedSetting setting = Setting(DistributedMechanism::kDiscreteGaussian, 1e-4);
  setting.grid = 2e-3;
  setting.threshold = 1;
  const double bound =
      RoundedSensitivity(setting.clip, setting.grid, kDimensions, setting.beta) / setting.grid;
  const auto site = SiteNoise::Create(setting);
  ASSERT_TRUE(site.ok()) << site.status();
  RandomStream random = SeededRandomStream(4);
  std::vector<int64_t> out(kDimensions);
  for (const double norm : {0.5, 1.0, 30.0}) {  // the last is clipped to 1
    const std::vector<float> update = Update(norm);
    double along = 0;
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(site->Encode(update, random, absl::MakeSpan(out)).ok());
      double squares = 0;
      for (size_t k = 0; k < out.size(); ++k) {
        const auto steps = static_cast<double>(out[k]);
        squares += steps * steps;
        along += steps * setting.grid * update[k] / norm / 10;
      }
      EXPECT_LE(std::sqrt(squares), bound);
    }
    EXPECT_NEAR(along, std::min(norm, 1.0), 0.005) << norm;
  }
}

TEST(SiteNoiseTest, WhatIsNoUpdateIsRefused) {
  const auto site = SiteNoise::Create(Setting(DistributedMechanism::kSkellam, 1));
  ASSERT_TRUE(site.ok());
  RandomStream random;
  std::vector<int64_t> out(kDimensions);
  std::vector<float> update = Update(1);
  update[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(site->Encode(update, random, absl::MakeSpan(out)).ok());
  update[7] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(site->Encode(update, random, absl::MakeSpan(out)).ok());
  update.pop_back();
  EXPECT_FALSE(site->Encode(update, random, absl::MakeSpan(out)).ok());
  DistributedSetting setting = Setting(DistributedMechanism::kSkellam, 1);
  setting.grid = 1e-20;
  EXPECT_FALSE(SiteNoise::Create(setting).ok());
  setting = Setting(DistributedMechanism::kDiscreteGaussian, 1);
  setting.threshold = 0;
  EXPECT_FALSE(SiteNoise::Create(setting).ok());
}

}  // namespace
}  // namespace consilium::dp
