#include "privacy/crypto/x25519.h"

#include <string>

#include "gtest/gtest.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

std::string Hex(absl::string_view hex) { return *HexDecode(hex); }

// RFC 7748 section 5.2, the first test vector.
TEST(X25519Test, MultipliesAsInTheRfc) {
  const auto secret =
      X25519(Hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
             Hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"));
  ASSERT_TRUE(secret.ok()) << secret.status();
  EXPECT_EQ(HexEncode(secret->view()),
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

TEST(X25519Test, BothSidesAgree) {
  const std::string a(32, 'a');
  const std::string b(32, 'b');
  const auto from_a = X25519(a, *X25519PublicKey(b));
  const auto from_b = X25519(b, *X25519PublicKey(a));
  ASSERT_TRUE(from_a.ok() && from_b.ok());
  EXPECT_EQ(from_a->view(), from_b->view());
}

// RFC 7748 section 6.1: points of order 1, 2, 4 and 8 give zeros whatever the private key.
TEST(X25519Test, PublicKeysOfLowOrderAreRefused) {
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"}) {
    EXPECT_EQ(X25519(std::string(32, 'a'), Hex(point)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << point;
  }
}

TEST(X25519Test, KeysOfAnotherLengthAreRefused) {
  EXPECT_FALSE(X25519PublicKey(std::string(31, 'a')).ok());
  EXPECT_FALSE(X25519(std::string(33, 'a'), std::string(32, 'b')).ok());
  EXPECT_FALSE(X25519(std::string(32, 'a'), "").ok());
}

}  // namespace
}  // namespace consilium::privacy
