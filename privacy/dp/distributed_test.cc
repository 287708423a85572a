#include "privacy/dp/distributed.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/dp/gaussian.h"
#include "privacy/dp/test_vectors.h"

namespace consilium::dp {
namespace {

using nlohmann::json;

DistributedSetting Adapter() {
  return {.clip = 1,
          .grid = 1e-4,
          .dimensions = 1 << 20,
          .sites = 10,
          .threshold = 7,
          .noise_multiplier = 4,
          .rounds = 50};
}

TEST(DistributedTest, VectorsOfBothMechanisms) {
  CSL_DP_VECTORS_OR_SKIP(vectors);
  // The vectors know whole orders only, of which the least epsilon is a few percent larger.
  std::vector<double> orders(127);
  std::iota(orders.begin(), orders.end(), 2.0);
  for (const json& v : (*vectors)["distributed_dp"]) {
    DistributedSetting setting{.clip = v["l2_clip"],
                               .grid = v["gamma"],
                               .dimensions = v["dim"],
                               .sites = v["clients"],
                               .threshold = v["clients"],
                               .noise_multiplier = v["central_noise_multiplier"],
                               .rounds = v["rounds"],
                               .beta = v["beta"]};
    EXPECT_NEAR(LocalSigma(setting) / v["local_stddev"].get<double>(), 1, 1e-12);
    EXPECT_NEAR(LocalSigma(setting) / setting.grid / v["local_stddev_in_grid_units"].get<double>(),
                1, 1e-12);
    EXPECT_NEAR(RoundedSensitivity(setting.clip, setting.grid, setting.dimensions, setting.beta),
                v["rounded_l2_bound"], 1e-12);
    EXPECT_NEAR(
        *DistributedEpsilon(setting, v["delta"], orders) / v["epsilon_ddgauss"].get<double>(), 1,
        1e-9)
        << v.dump();
    const double finer = *DistributedEpsilon(setting, v["delta"]);
    EXPECT_LE(finer, v["epsilon_ddgauss"].get<double>());
    EXPECT_GE(finer, v["epsilon_continuous_gaussian_exact"].get<double>());
    setting.mechanism = DistributedMechanism::kSkellam;
    EXPECT_NEAR(
        *DistributedEpsilon(setting, v["delta"], orders) / v["epsilon_skellam"].get<double>(), 1,
        1e-9)
        << v.dump();
    EXPECT_NEAR(*GaussianEpsilon(setting.noise_multiplier, setting.rounds, v["delta"]) /
                    v["epsilon_continuous_gaussian_exact"].get<double>(),
                1, 1e-6);
  }
  EXPECT_EQ((*vectors)["distributed_dp"].size(), 3u);
}

TEST(DistributedTest, NoiseIsCalibratedToTheSurvivors) {
  DistributedSetting setting = Adapter();
  const double with_threshold = LocalSigma(setting);
  // Seven survivors' shares make the whole noise.
  EXPECT_NEAR(std::sqrt(7.0) * with_threshold, setting.noise_multiplier * setting.clip, 1e-12);
  const double epsilon = *DistributedEpsilon(setting, 1e-2);
  setting.threshold = 10;
  EXPECT_LT(LocalSigma(setting), with_threshold);
  EXPECT_NEAR(*DistributedEpsilon(setting, 1e-2) / epsilon, 1, 1e-9);
}

TEST(DistributedTest, CoarseNoiseIsNotSoldAsGaussian) {
  // A share of half a grid step: the sum is far from a discrete Gaussian, and tau says so.
  DistributedSetting setting = Adapter();
  setting.grid = 2 * LocalSigma(setting);
  setting.dimensions = 16;
  DistributedSetting fine = setting;
  fine.grid = 1e-4;
  EXPECT_GT(*DistributedDivergence(setting, 2), 5 * *DistributedDivergence(fine, 2));
}

TEST(DistributedTest, CalibrationKeepsThePromise) {
  for (const auto mechanism :
       {DistributedMechanism::kDiscreteGaussian, DistributedMechanism::kSkellam}) {
    DistributedSetting setting = Adapter();
    setting.mechanism = mechanism;
    for (const double epsilon : {0.5, 3.0, 8.0}) {
      const auto z = CalibrateDistributed(setting, {.epsilon = epsilon, .delta = 1e-2});
      ASSERT_TRUE(z.ok()) << z.status();
      setting.noise_multiplier = *z;
      EXPECT_LE(*DistributedEpsilon(setting, 1e-2), epsilon);
      setting.noise_multiplier = *z * (1 - 2e-4);
      EXPECT_GT(*DistributedEpsilon(setting, 1e-2), epsilon);
    }
  }
}

TEST(DistributedTest, LanesAndCosts) {
  DistributedSetting setting = Adapter();
  setting.threshold = 10;
  // 2 * 4 * sqrt((10)^2/2^20 + 16 + tiny) / 1e-4 = 320,000
  EXPECT_EQ(*LaneBits(setting), 19);
  setting.grid = 1e-8;
  EXPECT_EQ(*LaneBits(setting), 32);
  EXPECT_GT(*LaneBits(setting, 4, 1 << 20), 32);
  EXPECT_NEAR(NoiseToSignal(4, 62'000'000, 10), 3150, 1);
}

TEST(DistributedTest, ErrorsAreStatuses) {
  EXPECT_TRUE(CheckSetting(Adapter()).ok());
  for (double DistributedSetting::*field :
       {&DistributedSetting::clip, &DistributedSetting::grid, &DistributedSetting::noise_multiplier,
        &DistributedSetting::beta}) {
    for (const double bad : {0.0, -1.0, double{NAN}, HUGE_VAL}) {
      DistributedSetting setting = Adapter();
      setting.*field = bad;
      EXPECT_FALSE(DistributedEpsilon(setting, 1e-2).ok());
      EXPECT_FALSE(LaneBits(setting).ok());
    }
  }
  for (int64_t DistributedSetting::*field :
       {&DistributedSetting::dimensions, &DistributedSetting::sites,
        &DistributedSetting::threshold}) {
    for (const int64_t bad : {int64_t{0}, int64_t{-1}, INT64_MAX}) {
      DistributedSetting setting = Adapter();
      setting.*field = bad;
      EXPECT_FALSE(DistributedEpsilon(setting, 1e-2).ok());
    }
  }
  EXPECT_FALSE(DistributedEpsilon(Adapter(), 0).ok());
  EXPECT_FALSE(DistributedDivergence(Adapter(), 1).ok());
  DistributedSetting coarse = Adapter();
  coarse.grid = 1e20;
  EXPECT_EQ(CalibrateDistributed(coarse, {.epsilon = 1e-3, .delta = 1e-5}).status().code(),
            absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace consilium::dp
