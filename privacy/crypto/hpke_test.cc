#include "privacy/crypto/hpke.h"

#include <cstdio>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/hpke_core.h"
#include "proto/base/bytes.h"
#include "proto/base/clock.h"

namespace consilium::privacy {
namespace {

using absl::StatusCode;

struct Pair {
  HpkeSender sender;
  HpkeRecipient recipient;
};

Pair MakePair(absl::string_view info) {
  const HpkeKeyPair key = GenerateHpkeKeyPair();
  HpkeSender sender = *HpkeSender::Create(key.public_key, info);
  HpkeRecipient recipient = *HpkeRecipient::Create(key, sender.enc(), info);
  return Pair{std::move(sender), std::move(recipient)};
}

TEST(HpkeTest, MessagesOpenInTheOrderTheyWereSealed) {
  Pair pair = MakePair("study/round-1");
  for (int i = 0; i < 300; ++i) {
    const std::string text(static_cast<size_t>(i), static_cast<char>(i));
    const auto sealed = pair.sender.Seal("chunk", text);
    ASSERT_TRUE(sealed.ok());
    EXPECT_EQ(sealed->size(), text.size() + kHpkeTagBytes);
    EXPECT_EQ(pair.recipient.Open("chunk", *sealed).value_or("refused"), text);
  }
}

TEST(HpkeTest, EqualMessagesSealDifferently) {
  Pair pair = MakePair("");
  EXPECT_NE(*pair.sender.Seal("", "text"), *pair.sender.Seal("", "text"));
  EXPECT_NE(MakePair("").sender.enc(), pair.sender.enc());
}

TEST(HpkeTest, ChangedMessageIsDeniedAndEndsTheContext) {
  Pair pair = MakePair("info");
  const std::string sealed = *pair.sender.Seal("aad", "text");
  std::string changed = sealed;
  changed[2] ^= 1;
  EXPECT_EQ(pair.recipient.Open("aad", changed).status().code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(pair.recipient.Open("aad", sealed).status().code(), StatusCode::kFailedPrecondition);
}

TEST(HpkeTest, OtherAadIsDenied) {
  Pair pair = MakePair("info");
  const std::string sealed = *pair.sender.Seal("aad", "text");
  EXPECT_EQ(pair.recipient.Open("aae", sealed).status().code(), StatusCode::kPermissionDenied);
}

TEST(HpkeTest, TruncatedMessageIsDenied) {
  for (const size_t size : {size_t{0}, size_t{15}, size_t{16}, size_t{19}}) {
    Pair pair = MakePair("info");
    const std::string sealed = *pair.sender.Seal("aad", "text");
    EXPECT_EQ(pair.recipient.Open("aad", sealed.substr(0, size)).status().code(),
              StatusCode::kPermissionDenied);
  }
}

TEST(HpkeTest, SwappedAndRepeatedMessagesAreDenied) {
  Pair swapped = MakePair("info");
  const std::string first = *swapped.sender.Seal("aad", "1");
  const std::string second = *swapped.sender.Seal("aad", "2");
  EXPECT_EQ(swapped.recipient.Open("aad", second).status().code(), StatusCode::kPermissionDenied);

  Pair repeated = MakePair("info");
  const std::string only = *repeated.sender.Seal("aad", "1");
  EXPECT_TRUE(repeated.recipient.Open("aad", only).ok());
  EXPECT_EQ(repeated.recipient.Open("aad", only).status().code(), StatusCode::kPermissionDenied);
}

TEST(HpkeTest, OtherInfoKeyOrEncIsDenied) {
  const HpkeKeyPair key = GenerateHpkeKeyPair();
  const HpkeKeyPair other = GenerateHpkeKeyPair();
  auto sender = HpkeSender::Create(key.public_key, "round 1");
  ASSERT_TRUE(sender.ok());
  const std::string sealed = *sender->Seal("", "text");
  EXPECT_FALSE(HpkeRecipient::Create(key, sender->enc(), "round 2")->Open("", sealed).ok());
  EXPECT_FALSE(HpkeRecipient::Create(other, sender->enc(), "round 1")->Open("", sealed).ok());
  EXPECT_FALSE(HpkeRecipient::Create(key, other.public_key, "round 1")->Open("", sealed).ok());
  EXPECT_TRUE(HpkeRecipient::Create(key, sender->enc(), "round 1")->Open("", sealed).ok());
}

TEST(HpkeTest, PointsOfLowOrderAreRefused) {
  const HpkeKeyPair key = GenerateHpkeKeyPair();
  // RFC 7748 section 6.1 and the list of small-order points on Curve25519: orders 4, 1, 8, 8, 2,
  // and the unreduced encodings of 0 and 1.
  for (const char* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0100000000000000000000000000000000000000000000000000000000000000",
                          "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                          "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    const std::string point = HexDecode(hex).value();
    EXPECT_EQ(HpkeSender::Create(point, "").status().code(), StatusCode::kInvalidArgument) << hex;
    EXPECT_EQ(HpkeRecipient::Create(key, point, "").status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(HpkeTest, KeysOfAnotherSizeAreRefused) {
  for (const size_t size : {0, 31, 33}) {
    EXPECT_FALSE(HpkeSender::Create(std::string(size, 'k'), "").ok());
    EXPECT_FALSE(HpkeRecipient::Create(GenerateHpkeKeyPair(), std::string(size, 'k'), "").ok());
    EXPECT_FALSE(HpkeKeyPairFromPrivate(std::string(size, 'k')).ok());
  }
  EXPECT_FALSE(HpkeRecipient::Create(HpkeKeyPair{}, std::string(32, 'k'), "").ok());
}

TEST(HpkeTest, KeyPairComesBackFromItsPrivateHalf) {
  const HpkeKeyPair key = GenerateHpkeKeyPair();
  EXPECT_EQ(HpkeKeyPairFromPrivate(key.private_key.view())->public_key, key.public_key);
}

TEST(HpkeCoreTest, SequenceEndsBeforeItRepeats) {
  const HpkeKeys keys =
      *HpkeKeySchedule(HpkeAead::kAes256Gcm, std::string(32, 's'), "info", HpkePsk{});
  auto messages = HpkeMessages::Create(HpkeAead::kAes256Gcm, keys, 3);
  ASSERT_TRUE(messages.ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(messages->Seal("", "text").ok());
  EXPECT_EQ(messages->Seal("", "text").status().code(), StatusCode::kResourceExhausted);
}

TEST(HpkeCoreTest, PskNeedsItsIdAndLength) {
  const std::string secret(32, 's');
  EXPECT_FALSE(HpkeKeySchedule(HpkeAead::kAes256Gcm, secret, "", {.psk = secret}).ok());
  EXPECT_FALSE(HpkeKeySchedule(HpkeAead::kAes256Gcm, secret, "", {.psk_id = "id"}).ok());
  EXPECT_FALSE(
      HpkeKeySchedule(HpkeAead::kAes256Gcm, secret, "", {.psk = "short", .psk_id = "id"}).ok());
}

// No threshold: prints what this machine does.
TEST(HpkeTest, SpeedOfOneMebibyteMessages) {
  constexpr int kMessages = 256;
  Pair pair = MakePair("speed");
  const std::string text(size_t{1} << 20, 't');
  absl::Duration sealing;
  absl::Duration opening;
  for (int i = 0; i < kMessages; ++i) {
    const absl::Duration start = Clock::System().Monotonic();
    const auto sealed = pair.sender.Seal("aad", text);
    const absl::Duration middle = Clock::System().Monotonic();
    ASSERT_TRUE(sealed.ok() && pair.recipient.Open("aad", *sealed).ok());
    sealing += middle - start;
    opening += Clock::System().Monotonic() - middle;
  }
  const double megabytes = kMessages * static_cast<double>(text.size()) / 1e6;
  std::printf("seal %.0f MB/s, open %.0f MB/s\n", megabytes / absl::ToDoubleSeconds(sealing),
              megabytes / absl::ToDoubleSeconds(opening));
}

}  // namespace
}  // namespace consilium::privacy
