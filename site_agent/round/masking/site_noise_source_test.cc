#include "site_agent/round/masking/site_noise_source.h"

#include <cmath>

#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kParameters = 50'000;

wire::Plan SitePlan() {
  wire::Plan plan;
  plan.study = "s";
  plan.training.rounds = 10;
  plan.protection.kind = "secure-aggregation";
  plan.protection.clip = 64;
  plan.privacy = {"site", 8, 1e-2, 1, 8, 4};
  return plan;
}

secagg::Quantiser QuantiserOf(double clip = 64, uint64_t divisor = 5) {
  secagg::Quantiser::Options options;
  options.spec.clip = clip;
  options.spec.divisor = divisor;
  options.sites = 5;
  options.parameters = kParameters;
  options.rotation_seed = std::string(32, 'r');
  return *secagg::Quantiser::Create(options);
}

absl::StatusOr<SiteNoiseSource> Make(const secagg::Quantiser& quantiser, int64_t weight_max = 1,
                                     const wire::Plan& plan = SitePlan(), char seed = 'a') {
  return SiteNoiseSource::Create(plan, {quantiser, weight_max, 5, 4, std::string(32, seed)});
}

std::vector<int64_t> All(const SiteNoiseSource& source) {
  std::vector<int64_t> noise(kParameters);
  source.Fill(0, absl::MakeSpan(noise));
  return noise;
}

TEST(SiteNoiseSourceTest, FourSharesMakeTheNoiseOfThePlan) {
  const secagg::Quantiser quantiser = QuantiserOf();
  const auto source = Make(quantiser);
  ASSERT_TRUE(source.ok()) << source.status();
  double squares = 0, sum = 0;
  for (const int64_t value : All(*source)) {
    squares += static_cast<double>(value) * static_cast<double>(value);
    sum += static_cast<double>(value);
  }
  const double grid = quantiser.step() * 5;  // of an update's values: weight 1 of a divisor of 5
  const double share = 4.0 / std::sqrt(4.0);
  EXPECT_NEAR(std::sqrt(squares / kParameters) * grid / share, 1, 0.02);
  EXPECT_NEAR(sum / kParameters * grid, 0, 0.06);
}

TEST(SiteNoiseSourceTest, ASessionsNoiseIsTheSameInAnyPiecesAndAnothersIsNot) {
  const secagg::Quantiser quantiser = QuantiserOf();
  const auto source = Make(quantiser), again = Make(quantiser);
  ASSERT_TRUE(source.ok() && again.ok());
  const std::vector<int64_t> all = All(*source);
  std::vector<int64_t> pieces(kParameters);
  const uint64_t cut = 2 * SiteNoiseSource::kBlockWords;
  again->Fill(cut, absl::MakeSpan(pieces).subspan(cut));
  again->Fill(0, absl::MakeSpan(pieces).subspan(0, cut));
  EXPECT_EQ(pieces, all);
  const auto other = Make(quantiser, 1, SitePlan(), 'b');
  const std::vector<int64_t> others = All(*other);
  int equal = 0;
  for (size_t i = 0; i < all.size(); ++i) equal += all[i] == others[i] ? 1 : 0;
  EXPECT_LT(equal, 10);
  // Blocks of one session differ too.
  EXPECT_NE(std::vector<int64_t>(all.begin(), all.begin() + 100),
            std::vector<int64_t>(all.begin() + cut, all.begin() + cut + 100));
}

TEST(SiteNoiseSourceTest, ClipLeavesRoomForTheRounding) {
  const auto fine = Make(QuantiserOf());
  ASSERT_TRUE(fine.ok());
  EXPECT_LT(fine->clip(), 1);
  EXPECT_GT(fine->clip(), 0.999);
}

TEST(SiteNoiseSourceTest, SitesThatCountUnlikeAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(Make(QuantiserOf(64, 5000), 1000).status()));
}

TEST(SiteNoiseSourceTest, NoiseThatDoesNotKeepThePromiseIsRefused) {
  wire::Plan plan = SitePlan();
  plan.privacy.noise_multiplier = 0.5;
  EXPECT_TRUE(absl::IsInvalidArgument(Make(QuantiserOf(), 1, plan).status()));
  // A grid as coarse as the noise, by a divisor that no roster needs.
  EXPECT_TRUE(absl::IsInvalidArgument(Make(QuantiserOf(64, 10'000'000)).status()));
}

}  // namespace
}  // namespace consilium::agent
