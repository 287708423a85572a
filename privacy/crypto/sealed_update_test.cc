#include "privacy/crypto/sealed_update.h"

#include "gtest/gtest.h"
#include "privacy/crypto/random.h"

namespace consilium::privacy {
namespace {

class SealedUpdateTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = TempDir::Create("sealed_update_test");
    ASSERT_TRUE(dir.ok());
    dir_.emplace(*std::move(dir));
    key_.emplace(GenerateHpkeKeyPair());
  }

  std::string Path(const char* name) const { return JoinPath(dir_->path(), name); }

  // Seals `plaintext` and returns the sealed file's bytes.
  std::string Seal(const std::string& plaintext) {
    EXPECT_TRUE(WriteFileAtomic(Path("plain"), plaintext).ok());
    EXPECT_TRUE(SealFile(Path("plain"), Path("sealed"), key_->public_key, context_).ok());
    return ReadFile(Path("sealed"), 1 << 24).value();
  }

  absl::StatusOr<std::string> OpenAll(const std::string& sealed, const SealContext& context) {
    EXPECT_TRUE(WriteFileAtomic(Path("received"), sealed).ok());
    auto reader = SealedReader::Open(Path("received"), *key_, context);
    if (!reader.ok()) return reader.status();
    // Backwards: any order will do.
    std::string all, piece;
    for (uint64_t at = reader->pieces(); at > 0; --at) {
      const absl::Status read = reader->Read(at - 1, piece);
      if (!read.ok()) return read;
      all.insert(0, piece);
    }
    return all;
  }

  const SealContext context_ = {"fed", "hippocampus", 3, "site-a", "hippocampus/3/train/site-a"};
  std::optional<TempDir> dir_;
  std::optional<HpkeKeyPair> key_;
};

TEST_F(SealedUpdateTest, RoundTripsAtEveryPieceBoundary) {
  for (const size_t bytes : {size_t{0}, size_t{1}, kSealedPieceBytes - 1, kSealedPieceBytes,
                             kSealedPieceBytes + 1, 2 * kSealedPieceBytes}) {
    const std::string plaintext = RandomBytes(bytes);
    const std::string sealed = Seal(plaintext);
    EXPECT_EQ(sealed.size(), SealedBytes(bytes));
    const auto opened = OpenAll(sealed, context_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(*opened == plaintext);
  }
}

TEST_F(SealedUpdateTest, AnotherContextDoesNotOpenIt) {
  const std::string sealed = Seal("delta");
  for (const SealContext& other :
       {SealContext{"fed2", "hippocampus", 3, "site-a", context_.task_id},
        SealContext{"fed", "liver", 3, "site-a", context_.task_id},
        SealContext{"fed", "hippocampus", 4, "site-a", context_.task_id},
        SealContext{"fed", "hippocampus", 3, "site-b", context_.task_id},
        SealContext{"fed", "hippocampus", 3, "site-a", "x"}}) {
    EXPECT_FALSE(OpenAll(sealed, other).ok());
  }
}

TEST_F(SealedUpdateTest, CutExtendedReorderedOrAlteredFilesDoNotOpen) {
  const std::string sealed = Seal(RandomBytes(3 * kSealedPieceBytes));
  const size_t piece = kSealedPieceBytes + kHpkeTagBytes;
  ASSERT_EQ(sealed.size(), kHpkeKeyBytes + 3 * piece);
  EXPECT_FALSE(OpenAll(sealed.substr(0, kHpkeKeyBytes + 2 * piece), context_).ok()) << "cut";
  EXPECT_FALSE(OpenAll(sealed + sealed.substr(kHpkeKeyBytes, piece), context_).ok()) << "longer";
  EXPECT_FALSE(OpenAll(sealed + "x", context_).ok());
  EXPECT_FALSE(OpenAll(sealed.substr(0, 10), context_).ok());
  std::string swapped = sealed;
  swapped.replace(kHpkeKeyBytes, piece, sealed, kHpkeKeyBytes + piece, piece);
  swapped.replace(kHpkeKeyBytes + piece, piece, sealed, kHpkeKeyBytes, piece);
  EXPECT_FALSE(OpenAll(swapped, context_).ok()) << "reordered";
  std::string altered = sealed;
  altered[kHpkeKeyBytes + piece + 5] ^= 1;
  EXPECT_FALSE(OpenAll(altered, context_).ok()) << "altered";
}

TEST_F(SealedUpdateTest, AnotherKeyDoesNotOpenIt) {
  const std::string sealed = Seal("delta");
  key_.emplace(GenerateHpkeKeyPair());
  EXPECT_EQ(OpenAll(sealed, context_).status().code(), absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace consilium::privacy
