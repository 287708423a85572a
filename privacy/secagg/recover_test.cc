#include "privacy/secagg/recover.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/random.h"

namespace consilium::secagg {
namespace {

// Shares of a secret, some of them wrong.
struct Dealt {
  Dealt(size_t threshold, size_t holders, const std::vector<size_t>& liars)
      : secret(privacy::RandomBytes(32)) {
    const auto shares =
        ShamirSplit(secret, privacy::RandomBytes((threshold - 1) * 32), threshold, holders);
    for (const privacy::SecretBytes& share : shares) texts.emplace_back(share.view());
    for (const size_t i : liars) texts[i] = privacy::RandomBytes(32);
  }
  std::vector<ShamirShare> Shares() const {
    std::vector<ShamirShare> shares;
    for (size_t i = 0; i < texts.size(); ++i) shares.push_back({.holder = i, .bytes = texts[i]});
    return shares;
  }
  std::string secret;
  std::vector<std::string> texts;
};

TEST(ShareRecoveryTest, FindsTheSecretAndEveryLiarAsLongAsAThresholdIsHonest) {
  for (const auto& liars : {std::vector<size_t>{}, {0}, {9}, {0, 1, 2}, {4, 8, 9}}) {
    const Dealt dealt(7, 10, liars);
    ShareRecovery recovery(7, 10);
    const auto fits = [&](absl::string_view secret) { return secret == dealt.secret; };
    const auto recovered = recovery.Recover(dealt.Shares(), fits);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_EQ(recovered->secret.view(), dealt.secret);
    EXPECT_EQ(recovered->wrong, liars);
  }
}

TEST(ShareRecoveryTest, TooManyLiarsLoseTheSecret) {
  const Dealt dealt(7, 10, {0, 2, 5, 7});
  ShareRecovery recovery(7, 10);
  const auto fits = [&](absl::string_view secret) { return secret == dealt.secret; };
  EXPECT_EQ(recovery.Recover(dealt.Shares(), fits).status().code(), absl::StatusCode::kDataLoss);
}

// Two liars whose errors cancel where the first shares are combined: the secret is right at once,
// but the polynomial is not, and the honest holders beyond it must not take the blame.
TEST(ShareRecoveryTest, LiarsWhoActTogetherDoNotPutTheBlameOnOthers) {
  Dealt dealt(5, 9, {});
  const auto factor = [](size_t holder) {  // of Lagrange at 0, for holders 0 to 4
    uint8_t value = 1;
    for (size_t other = 0; other < 5; ++other) {
      if (other == holder) continue;
      const auto x = static_cast<uint8_t>(holder + 1);
      const auto y = static_cast<uint8_t>(other + 1);
      value = GfMultiply(value, GfMultiply(y, GfInverse(x ^ y)));
    }
    return value;
  };
  dealt.texts[1][0] = static_cast<char>(dealt.texts[1][0] ^ GfInverse(factor(1)));
  dealt.texts[2][0] = static_cast<char>(dealt.texts[2][0] ^ GfInverse(factor(2)));
  std::vector<ShamirShare> first = dealt.Shares();
  first.resize(5);
  ASSERT_EQ(ShamirCombine(first)->view(), dealt.secret);
  ShareRecovery recovery(5, 9);
  const auto fits = [&](absl::string_view secret) { return secret == dealt.secret; };
  const auto recovered = recovery.Recover(dealt.Shares(), fits);
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->wrong, (std::vector<size_t>{1, 2}));
}

TEST(ShareRecoveryTest, TriesASuspectLast) {
  ShareRecovery recovery(7, 10);
  int tried = 0;
  for (int secrets = 0; secrets < 3; ++secrets) {
    const Dealt dealt(7, 10, {0});
    tried = 0;
    const auto fits = [&](absl::string_view secret) {
      ++tried;
      return secret == dealt.secret;
    };
    ASSERT_TRUE(recovery.Recover(dealt.Shares(), fits).ok());
  }
  EXPECT_EQ(tried, 1);
}

TEST(ShareRecoveryTest, FewerSharesThanTheThreshold) {
  const Dealt dealt(3, 3, {});
  ShareRecovery recovery(4, 10);
  EXPECT_EQ(
      recovery.Recover(dealt.Shares(), [](absl::string_view) { return true; }).status().code(),
      absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace consilium::secagg
