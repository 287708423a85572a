// SHA-256, HMAC, HKDF, random bytes and secret bytes.
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

// `count` bytes that count up from `first`.
std::string Ascending(int first, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(first + i));
  return bytes;
}

TEST(Sha256Test, MatchesTheExamplesOfFips180) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HexEncode(Sha256("abc")), Sha256Hex("abc"));
}

TEST(Sha256Test, StreamGivesTheDigestOfAllPiecesAndStartsAgain) {
  Sha256Stream stream;
  for (int i = 0; i < 1000; ++i) stream.Update(std::string(1000, 'a'));
  EXPECT_EQ(HexEncode(stream.Finish()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(stream.Finish(), Sha256(""));
  stream.Update("abc");
  Sha256Stream moved = std::move(stream);
  EXPECT_EQ(moved.Finish(), Sha256("abc"));
}

TEST(Sha256Test, FileIsReadInPieces) {
  const auto dir = TempDir::Create("digest_test");
  ASSERT_TRUE(dir.ok());
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1} << 20, (size_t{2} << 20) + 7}) {
    const std::string path = JoinPath(dir->path(), "file");
    const std::string data(size, 'x');
    ASSERT_TRUE(WriteFileAtomic(path, data).ok());
    EXPECT_EQ(Sha256HexOfFile(path).value(), Sha256Hex(data)) << size;
  }
  EXPECT_EQ(Sha256HexOfFile(JoinPath(dir->path(), "none")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(HmacTest, MatchesRfc4231) {
  EXPECT_EQ(HexEncode(HmacSha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(HexEncode(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(HexEncode(HmacSha256(std::string(131, '\xaa'),
                                 "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacTest, EmptyKeyAndDataCount) {
  EXPECT_EQ(HexEncode(HmacSha256(absl::string_view(), absl::string_view())),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(HkdfTest, MatchesRfc5869AppendixA1) {
  const SecretBytes key = HkdfExtract(Ascending(0, 13), std::string(22, '\x0b'));
  EXPECT_EQ(HexEncode(key.view()),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
  EXPECT_EQ(HexEncode(HkdfExpand(key.view(), Ascending(0xf0, 10), 42)->view()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST(HkdfTest, MatchesRfc5869AppendixA2) {
  const SecretBytes key = HkdfExtract(Ascending(0x60, 80), Ascending(0, 80));
  EXPECT_EQ(HexEncode(key.view()),
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244");
  EXPECT_EQ(HexEncode(HkdfExpand(key.view(), Ascending(0xb0, 80), 82)->view()),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41"
            "c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
}

TEST(HkdfTest, MatchesRfc5869AppendixA3) {
  EXPECT_EQ(HexEncode(Hkdf("", std::string(22, '\x0b'), "", 42)->view()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(HkdfTest, LengthIsBounded) {
  const std::string key(32, 'k');
  EXPECT_EQ(HkdfExpand(key, "", 0)->size(), 0u);
  EXPECT_EQ(HkdfExpand(key, "", kHkdfOutputBytesMax)->size(), kHkdfOutputBytesMax);
  EXPECT_EQ(HkdfExpand(key, "", kHkdfOutputBytesMax + 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(HkdfExpand("short", "", 32).ok());
}

TEST(RandomTest, BytesDoNotRepeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(RandomBytes(16));
    seen.insert(std::string(RandomSecret(16).view()));
  }
  EXPECT_EQ(seen.size(), 2000u);
  EXPECT_EQ(RandomBytes(0), "");
  EXPECT_EQ(RandomBytes(33).size(), 33u);
}

TEST(SecretBytesTest, MovesWithoutLeavingACopy) {
  SecretBytes first("key");
  SecretBytes second(std::move(first));
  EXPECT_EQ(first.size(), 0u);  // NOLINT(bugprone-use-after-move): the contract
  EXPECT_EQ(second.view(), "key");
  const SecretBytes copy = second.Clone();
  second = SecretBytes("other");
  EXPECT_EQ(copy.view(), "key");
  EXPECT_EQ(second.view(), "other");
}

TEST(SecretBytesTest, ComparisonSeesEveryByte) {
  EXPECT_TRUE(SecretsEqual("", ""));
  EXPECT_TRUE(SecretsEqual("token", "token"));
  EXPECT_FALSE(SecretsEqual("token", "tokeN"));
  EXPECT_FALSE(SecretsEqual("token", "toke"));
}

}  // namespace
}  // namespace consilium::privacy
