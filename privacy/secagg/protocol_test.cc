#include "privacy/secagg/protocol.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/secagg/codec.h"

namespace consilium::secagg {
namespace {

TEST(ProtocolTest, ThresholdIsMoreThanTwoThirds) {
  // The table of Bonawitz et al. with a third of colluders, for 3, 4, 5, ... sites.
  const std::vector<std::pair<size_t, uint32_t>> table = {
      {3, 3},   {4, 3},   {5, 4},    {7, 5},     {10, 7},
      {20, 14}, {50, 34}, {100, 67}, {200, 134}, {255, 171}};
  for (const auto& [sites, threshold] : table) EXPECT_EQ(Threshold(sites), threshold);
}

TEST(SiteSetTest, BytesCountFromTheLowestBit) {
  SiteSet set(10);
  for (const size_t i : {0, 1, 2, 4, 5, 6, 7, 8, 9}) set.Add(i);
  EXPECT_EQ(set.bytes(), std::string("\xf7\x03", 2));
  EXPECT_EQ(*SiteSet::FromBytes(set.bytes(), 10), set);
  EXPECT_EQ(set.Count(), 9u);
  EXPECT_FALSE(set.Has(3));
  EXPECT_FALSE(set.Has(10));
  EXPECT_EQ(set.Indices().size(), 9u);
}

TEST(SiteSetTest, OtherLengthsAndBitsBeyondTheLastAreRefused) {
  EXPECT_FALSE(SiteSet::FromBytes("\xff", 10).ok());
  EXPECT_FALSE(SiteSet::FromBytes(std::string("\xf7\x07", 2), 10).ok());
  EXPECT_FALSE(SiteSet::FromBytes(std::string("\xf7\x03\x00", 3), 10).ok());
  EXPECT_TRUE(SiteSet::FromBytes("\xff", 8).ok());
  EXPECT_FALSE(SiteSet::FromBytes("", 3).ok());
}

TEST(SiteSetTest, ContainsComparesSetsOfOneRoster) {
  SiteSet all(5);
  SiteSet some(5);
  for (size_t i = 0; i < 5; ++i) all.Add(i);
  some.Add(3);
  EXPECT_TRUE(all.Contains(some));
  EXPECT_FALSE(some.Contains(all));
  EXPECT_FALSE(all.Contains(SiteSet(6)));
}

TEST(CodecTest, ReadsBackWhatWasWrittenAndNothingBeyond) {
  SecretWriter writer;
  writer.U8(7);
  writer.U32(70'000);
  writer.U64(uint64_t{1} << 60);
  writer.Prefixed("abc");
  writer.Fixed("de");
  const privacy::SecretBytes bytes = std::move(writer).Finish();
  EXPECT_EQ(bytes.size(), 1 + 4 + 8 + 4 + 3 + 2u);
  Reader reader(bytes.view());
  EXPECT_EQ(reader.U8(), 7);
  EXPECT_EQ(reader.U32(), 70'000u);
  EXPECT_EQ(reader.U64(), uint64_t{1} << 60);
  EXPECT_EQ(reader.Prefixed(3), "abc");
  EXPECT_FALSE(reader.Finish().ok());
  EXPECT_EQ(reader.Fixed(2), "de");
  EXPECT_TRUE(reader.Finish().ok());
  EXPECT_EQ(reader.U32(), 0u);
  EXPECT_FALSE(reader.ok());
}

TEST(CodecTest, LengthsBeyondALimitFailForGood) {
  const std::string bytes("\0\0\0\4abcd", 8);
  Reader reader(bytes);
  EXPECT_EQ(reader.Prefixed(3), "");
  EXPECT_EQ(reader.Fixed(1), "");
  EXPECT_FALSE(reader.status().ok());
}

}  // namespace
}  // namespace consilium::secagg
