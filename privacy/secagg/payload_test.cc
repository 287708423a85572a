#include "privacy/secagg/payload.h"

#include "gtest/gtest.h"
#include "proto/base/bytes.h"

namespace consilium::secagg {
namespace {

const PayloadHeader kHeader = {std::string(32, 's'), 16, 0x0102030405};

TEST(PayloadTest, TheBytesAreThoseOfTheFormat) {
  const std::string bytes = EncodePayloadHeader(kHeader);
  EXPECT_EQ(HexEncode(bytes), "43534c4d41534b31" + HexEncode(std::string(32, 's')) +
                                  "1000000000000000" "0504030201000000" "0000000000000000");
  EXPECT_EQ(kHeader.PayloadBytes(), 64 + 2 * uint64_t{0x0102030405});
}

TEST(PayloadTest, WhatIsWrittenIsRead) {
  const auto header = DecodePayloadHeader(EncodePayloadHeader(kHeader) + "words");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(*header, kHeader);
}

TEST(PayloadTest, EveryChangedByteOutsideTheIdIsRefusedOrAnotherHeader) {
  const std::string good = EncodePayloadHeader(kHeader);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x80);
    const auto header = DecodePayloadHeader(bytes);
    const bool id = at >= 8 && at < 40;
    const bool words = at >= 48 && at < 52;  // beyond that there are too many
    if (id || words) {
      ASSERT_TRUE(header.ok()) << at;
      EXPECT_NE(*header, kHeader);
    } else {
      EXPECT_TRUE(absl::IsInvalidArgument(header.status())) << at;
    }
  }
}

TEST(PayloadTest, AShortOrEmptyOneIsRefused) {
  const std::string good = EncodePayloadHeader(kHeader);
  EXPECT_TRUE(absl::IsInvalidArgument(DecodePayloadHeader("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      DecodePayloadHeader(absl::string_view(good).substr(0, 63)).status()));
  PayloadHeader none = kHeader;
  none.words = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(DecodePayloadHeader(EncodePayloadHeader(none)).status()));
}

}  // namespace
}  // namespace consilium::secagg
