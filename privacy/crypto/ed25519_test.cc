#include "privacy/crypto/ed25519.h"

#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

Ed25519Key FromHex(absl::string_view seed) {
  return *Ed25519Key::FromSeed(SecretBytes(*HexDecode(seed)));
}

// RFC 8032 section 7.1, TEST 1 to 3.
TEST(Ed25519Test, SignsTheRfcVectors) {
  struct Vector {
    const char *seed, *public_key, *message, *signature;
  };
  const Vector vectors[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
       "b46bd25bf5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f1"
       "1d8c387b2eaeb4302aeeb00d291612bb0c00"},
      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
       "c6594a7c15e9716ed28dc027beceea1ec40a"}};
  for (const Vector& vector : vectors) {
    const Ed25519Key key = FromHex(vector.seed);
    EXPECT_EQ(HexEncode(key.public_key()), vector.public_key);
    const std::string message = *HexDecode(vector.message);
    EXPECT_EQ(HexEncode(key.Sign(message)), vector.signature);
    EXPECT_TRUE(Ed25519Verify(key.public_key(), message, *HexDecode(vector.signature)).ok());
  }
}

TEST(Ed25519Test, AnotherMessageKeyOrSignatureIsDenied) {
  const Ed25519Key key = Ed25519Key::Generate();
  const std::string signature = key.Sign("yes");
  EXPECT_TRUE(Ed25519Verify(key.public_key(), "yes", signature).ok());
  EXPECT_EQ(Ed25519Verify(key.public_key(), "no", signature).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Ed25519Verify(Ed25519Key::Generate().public_key(), "yes", signature).code(),
            absl::StatusCode::kPermissionDenied);
  for (size_t bit = 0; bit < signature.size() * 8; ++bit) {
    std::string damaged = signature;
    damaged[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_FALSE(Ed25519Verify(key.public_key(), "yes", damaged).ok()) << bit;
  }
}

TEST(Ed25519Test, WrongLengthsAreRefused) {
  const Ed25519Key key = Ed25519Key::Generate();
  EXPECT_EQ(Ed25519Verify("short", "", key.Sign("")).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ed25519Verify(key.public_key(), "", "short").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ed25519Key::FromSeed(SecretBytes("short")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Ed25519Test, PemKeepsTheKey) {
  const Ed25519Key key = Ed25519Key::Generate();
  const auto again = Ed25519Key::FromPem(key.ToPem());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->public_key(), key.public_key());
  EXPECT_EQ(again->Sign("x"), key.Sign("x"));
}

TEST(Ed25519Test, AKeyOfAnotherKindIsRefused) {
  const auto p256 = GenerateKeyPem();
  ASSERT_TRUE(p256.ok());
  EXPECT_EQ(Ed25519Key::FromPem(*p256).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::privacy
