#include "privacy/secagg/shamir.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/random.h"

namespace consilium::secagg {
namespace {

std::vector<ShamirShare> Pick(const std::vector<privacy::SecretBytes>& shares,
                              const std::vector<size_t>& holders) {
  std::vector<ShamirShare> picked;
  for (const size_t i : holders) picked.push_back({.holder = i, .bytes = shares[i].view()});
  return picked;
}

TEST(ShamirTest, FieldIsThatOfTheRijndaelPolynomial) {
  EXPECT_EQ(GfMultiply(0x57, 0x83), 0xc1);  // FIPS 197 section 4.2
  EXPECT_EQ(GfMultiply(0x57, 0x13), 0xfe);
  for (int a = 1; a < 256; ++a) {
    const auto element = static_cast<uint8_t>(a);
    EXPECT_EQ(GfMultiply(element, GfInverse(element)), 1);
  }
  EXPECT_EQ(GfInverse(0), 0);
}

TEST(ShamirTest, AnyThresholdOfSharesGivesTheSecret) {
  const std::string secret = privacy::RandomBytes(32);
  const auto shares = ShamirSplit(secret, privacy::RandomBytes(2 * 32), 3, 6);
  for (const auto& holders :
       {std::vector<size_t>{0, 1, 2}, {5, 3, 1}, {2, 4, 5}, {0, 1, 2, 3, 4, 5}}) {
    EXPECT_EQ(ShamirCombine(Pick(shares, holders))->view(), secret);
  }
  EXPECT_NE(ShamirCombine(Pick(shares, {0, 1}))->view(), secret);
  EXPECT_EQ(ShamirShareAt(Pick(shares, {1, 3, 4}), 5)->view(), shares[5].view());
}

TEST(ShamirTest, LargestRoster) {
  const std::string secret = privacy::RandomBytes(32);
  const auto shares = ShamirSplit(secret, privacy::RandomBytes(170 * 32), 171, 255);
  std::vector<size_t> last;
  for (size_t i = 84; i < 255; ++i) last.push_back(i);
  EXPECT_EQ(ShamirCombine(Pick(shares, last))->view(), secret);
}

TEST(ShamirTest, SharesThatDoNotBelongTogetherAreRefused) {
  const auto shares = ShamirSplit(std::string(4, 's'), std::string(4, 'c'), 2, 3);
  EXPECT_FALSE(ShamirCombine({}).ok());
  EXPECT_FALSE(ShamirCombine(Pick(shares, {1, 1})).ok());
  EXPECT_FALSE(ShamirCombine({{.holder = 0, .bytes = "abcd"}, {.holder = 1, .bytes = "abc"}}).ok());
  EXPECT_FALSE(ShamirCombine({{.holder = 255, .bytes = "abcd"}}).ok());
}

}  // namespace
}  // namespace consilium::secagg
