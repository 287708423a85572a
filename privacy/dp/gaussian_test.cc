#include "privacy/dp/gaussian.h"

#include <cmath>

#include "gtest/gtest.h"
#include "privacy/dp/test_vectors.h"

namespace consilium::dp {
namespace {

using nlohmann::json;

TEST(GaussianTest, VectorsAreExact) {
  CSL_DP_VECTORS_OR_SKIP(vectors);
  for (const json& v : (*vectors)["gaussian_exact"]) {
    const auto epsilon = GaussianEpsilon(v["sigma"], v["steps"], v["delta"]);
    ASSERT_TRUE(epsilon.ok()) << epsilon.status();
    EXPECT_NEAR(*epsilon / v["epsilon"].get<double>(), 1, 1e-6) << v.dump();
  }
  EXPECT_EQ((*vectors)["gaussian_exact"].size(), 5u);
}

TEST(GaussianTest, DeltaIsTheInverse) {
  for (const double sigma : {0.01, 0.3, 1.0, 7.0, 50.0}) {
    for (const double delta : {1e-15, 1e-9, 1e-5, 1e-2, 0.4}) {
      const double epsilon = *GaussianEpsilon(sigma, 3, delta);
      const double back = *GaussianDelta(sigma, 3, epsilon);
      EXPECT_LE(back, delta * (1 + 1e-6)) << sigma << " " << delta;
      if (epsilon > 0) {
        EXPECT_GE(back, delta * (1 - 1e-6)) << sigma << " " << delta;
      }
    }
  }
}

TEST(GaussianTest, ExtremesAreFiniteAndErrorsAreStatuses) {
  EXPECT_NEAR(*GaussianEpsilon(1e-4, 1, 0.5) / 5e7, 1, 1e-3);
  EXPECT_EQ(*GaussianEpsilon(1e9, 1, 1e-5), 0);
  EXPECT_EQ(*GaussianEpsilon(1, 0, 1e-5), 0);
  EXPECT_EQ(*GaussianDelta(1, 0, 0), 0);
  EXPECT_FALSE(GaussianEpsilon(0, 1, 1e-5).ok());
  EXPECT_FALSE(GaussianEpsilon(1, -1, 1e-5).ok());
  EXPECT_FALSE(GaussianEpsilon(1, 1, 0).ok());
  EXPECT_FALSE(GaussianDelta(1, 1, -1).ok());
  EXPECT_FALSE(GaussianDelta(1, 1, NAN).ok());
}

}  // namespace
}  // namespace consilium::dp
