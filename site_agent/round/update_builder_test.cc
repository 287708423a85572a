#include "site_agent/round/update_builder.h"

#include <limits>

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "site_agent/round/update_seal.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

std::vector<training::NamedArray> Arrays(float first) {
  return {{"a", {2}, {first, 2}}, {"b", {1}, {3}}};
}

wire::TensorMap Map(float first) { return *TensorMapFromArrays(Arrays(first)); }

TEST(UpdateDeltaTest, IsStudentLessBase) {
  const auto delta = UpdateDelta(Arrays(5), Map(1));
  ASSERT_TRUE(delta.ok()) << delta.status();
  EXPECT_EQ(delta->values, (std::vector<float>{4, 0, 0}));
}

TEST(UpdateDeltaTest, OtherLayoutIsRefused) {
  auto renamed = Arrays(1);
  renamed[1].name = "c";
  EXPECT_TRUE(absl::IsInvalidArgument(UpdateDelta(std::move(renamed), Map(1)).status()));
  auto fewer = Arrays(1);
  fewer.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(UpdateDelta(std::move(fewer), Map(1)).status()));
  auto hollow = Arrays(1);
  hollow[0].values.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(UpdateDelta(std::move(hollow), Map(1)).status()));
}

TEST(UpdateDeltaTest, DivergedTrainingIsNotSent) {
  EXPECT_TRUE(absl::IsInternal(
      UpdateDelta(Arrays(std::numeric_limits<float>::quiet_NaN()), Map(1)).status()));
  EXPECT_TRUE(absl::IsInternal(
      UpdateDelta(Arrays(std::numeric_limits<float>::infinity()), Map(1)).status()));
}

class SealUpdateTest : public testing::Test {
 protected:
  SealUpdateTest() : folder_(*TempDir::Create("seal")), key_(privacy::GenerateHpkeKeyPair()) {
    options_.sealed_path = JoinPath(folder_.path(), "update.sealed");
    options_.recipient_public_key = key_.public_key;
    options_.context = {"fed", "hippo", 3, "site-a", "task-3"};
  }
  TempDir folder_;
  privacy::HpkeKeyPair key_;
  SealOptions options_;
};

TEST_F(SealUpdateTest, RecipientOpensTheSameTensors) {
  const auto offer = SealUpdate(Map(7), {{"k", "v"}}, options_);
  ASSERT_TRUE(offer.ok()) << offer.status();
  EXPECT_EQ(offer->bytes, *FileBytes(options_.sealed_path));
  EXPECT_EQ(offer->sha256, *privacy::Sha256HexOfFile(options_.sealed_path));
  EXPECT_EQ(offer->layout_sha256, privacy::Sha256Hex(Map(7).layout.Canonical()));

  auto reader = privacy::SealedReader::Open(options_.sealed_path, key_, options_.context);
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::string plain, piece;
  for (uint64_t at = 0; at < reader->pieces(); ++at) {
    ASSERT_TRUE(reader->Read(at, piece).ok());
    plain += piece;
  }
  const std::string path = JoinPath(folder_.path(), "opened");
  ASSERT_TRUE(WriteFileAtomic(path, plain).ok());
  const auto file = wire::ReadSafetensors(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->map.values, Map(7).values);
  EXPECT_EQ(file->metadata.at("k"), "v");
}

TEST_F(SealUpdateTest, NoPlainFileStays) {
  ASSERT_TRUE(SealUpdate(Map(7), {}, options_).ok());
  EXPECT_FALSE(PathExists(JoinPath(folder_.path(), "update.safetensors")));
  options_.recipient_public_key = "short";
  EXPECT_FALSE(SealUpdate(Map(7), {}, options_).ok());
  EXPECT_FALSE(PathExists(JoinPath(folder_.path(), "update.safetensors")));
}

}  // namespace
}  // namespace consilium::agent
