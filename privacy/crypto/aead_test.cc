#include "privacy/crypto/aead.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

constexpr AeadAlgorithm kAll[] = {AeadAlgorithm::kAes128Gcm, AeadAlgorithm::kAes256Gcm,
                                  AeadAlgorithm::kChaCha20Poly1305};

std::string Hex(absl::string_view hex) { return HexDecode(hex).value(); }

Aead Make(AeadAlgorithm algorithm) {
  return *Aead::Create(algorithm, std::string(AeadKeyBytes(algorithm), 'k'));
}

TEST(AeadTest, Aes256GcmMatchesTheCasesOfTheGcmSpecification) {
  Aead zero = *Aead::Create(AeadAlgorithm::kAes256Gcm, std::string(32, '\0'));
  const std::string nonce(12, '\0');
  EXPECT_EQ(HexEncode(*zero.Seal(nonce, "", "")), "530f8afbc74536b9a963b4f1c4cb738b");
  EXPECT_EQ(HexEncode(*zero.Seal(nonce, "", std::string(16, '\0'))),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
  Aead sixteen =
      *Aead::Create(AeadAlgorithm::kAes256Gcm,
                    Hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
  EXPECT_EQ(
      HexEncode(*sixteen.Seal(
          Hex("cafebabefacedbaddecaf888"), Hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
          Hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532f"
              "cf0e2449a6b525b16aedf5aa0de657ba637b39"))),
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
      "56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
}

TEST(AeadTest, ChaCha20Poly1305MatchesRfc8439Section282) {
  Aead aead =
      *Aead::Create(AeadAlgorithm::kChaCha20Poly1305,
                    Hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
  const std::string sealed =
      *aead.Seal(Hex("070000004041424344454647"), Hex("50515253c0c1c2c3c4c5c6c7"),
                 "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
                 "the future, sunscreen would be it.");
  EXPECT_EQ(HexEncode(sealed.substr(0, 8)), "d31a8d34648e60db");
  EXPECT_EQ(HexEncode(sealed.substr(sealed.size() - 16)), "1ae10b594f09e26a7e902ecbd0600691");
}

TEST(AeadTest, OpensWhatItSealedInAnyOrderOfCalls) {
  for (const AeadAlgorithm algorithm : kAll) {
    Aead aead = Make(algorithm);
    for (const size_t size : {0, 1, 15, 16, 17, 4096, 1 << 20}) {
      const std::string nonce = std::string(11, 'n') + static_cast<char>(size % 251);
      const std::string text(size, 't');
      const auto sealed = aead.Seal(nonce, "aad", text);
      ASSERT_TRUE(sealed.ok());
      EXPECT_EQ(sealed->size(), size + kAeadTagBytes);
      EXPECT_EQ(*aead.Open(nonce, "aad", *sealed), text);
    }
  }
}

TEST(AeadTest, EveryChangedBitIsSeen) {
  const std::string nonce(kAeadNonceBytes, 'n');
  for (const AeadAlgorithm algorithm : kAll) {
    Aead aead = Make(algorithm);
    const std::string sealed = *aead.Seal(nonce, "aad", "plain");
    for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      std::string changed = sealed;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_EQ(aead.Open(nonce, "aad", changed).status().code(),
                absl::StatusCode::kPermissionDenied);
    }
    EXPECT_FALSE(aead.Open(nonce, "aae", sealed).ok());
    EXPECT_FALSE(aead.Open(nonce, "", sealed).ok());
    EXPECT_FALSE(aead.Open(std::string(kAeadNonceBytes, 'o'), "aad", sealed).ok());
    for (size_t size = 0; size < sealed.size(); ++size) {
      EXPECT_FALSE(aead.Open(nonce, "aad", sealed.substr(0, size)).ok());
    }
    EXPECT_TRUE(aead.Open(nonce, "aad", sealed).ok());
  }
}

TEST(AeadTest, WrongSizesAreRefused) {
  EXPECT_FALSE(Aead::Create(AeadAlgorithm::kAes256Gcm, std::string(16, 'k')).ok());
  EXPECT_FALSE(Aead::Create(AeadAlgorithm::kAes128Gcm, "").ok());
  Aead aead = Make(AeadAlgorithm::kAes256Gcm);
  EXPECT_EQ(aead.Seal("short", "", "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(aead.Open(std::string(13, 'n'), "", std::string(16, 't')).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::privacy
