#include "coordinator/round/upload.h"

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"

namespace consilium::coordinator {
namespace {

class UploadTest : public ::testing::Test {
 protected:
  std::shared_ptr<Upload> Open(uint64_t bytes = 10) {
    Announcement announcement;
    announcement.site = "north";
    announcement.task_id = "train-1";
    announcement.study = "hippo";
    announcement.round = 1;
    announcement.bytes = bytes;
    announcement.sha256 = privacy::Sha256Hex("0123456789");
    EXPECT_TRUE(staging_.MakeRoom("hippo", 1).ok());
    auto upload =
        Upload::Open(announcement, staging_.Path("hippo", 1, UploadId(announcement)));
    EXPECT_TRUE(upload.ok()) << upload.status();
    return *upload;
  }
  TempDir temp_ = TempDir::Create("upload").value();
  Staging staging_{temp_.path()};
};

TEST_F(UploadTest, GoesOnWhereItWasAfterARestart) {
  std::string id;
  {
    auto upload = Open();
    id = upload->id();
    ASSERT_TRUE(upload->Append(upload->Attach(), 0, "0123").ok());
    EXPECT_TRUE(absl::IsFailedPrecondition(upload->Claim()));
  }
  auto upload = Open();
  EXPECT_EQ(upload->id(), id);
  EXPECT_EQ(upload->have_offset(), 4u);
  ASSERT_TRUE(upload->Append(upload->Attach(), 4, "456789").ok());
  EXPECT_TRUE(upload->Claim().ok());
  EXPECT_EQ(*upload->Digest(), upload->announcement().sha256);
  EXPECT_EQ(*privacy::Sha256HexOfFile(upload->path()), upload->announcement().sha256);
}

TEST_F(UploadTest, DigestIsOfTheBytesAlsoAfterADamagedTry) {
  auto upload = Open();
  ASSERT_TRUE(upload->Append(upload->Attach(), 0, "9876543210").ok());
  ASSERT_TRUE(upload->Claim().ok());
  EXPECT_EQ(*upload->Digest(), privacy::Sha256Hex("9876543210"));
  upload->Release(Upload::Content::kDamaged);
  const std::vector<absl::string_view> pieces = {"012", "3", "", "456789"};
  ASSERT_TRUE(upload->Append(upload->Attach(), 0, pieces).ok());
  ASSERT_TRUE(upload->Claim().ok());
  EXPECT_EQ(*upload->Digest(), upload->announcement().sha256);
  EXPECT_EQ(*privacy::Sha256HexOfFile(upload->path()), upload->announcement().sha256);
}

TEST_F(UploadTest, AStreamWithoutProgressIsCutOnce) {
  auto upload = Open();
  int cuts = 0;
  const uint64_t stream = upload->Attach([&] { ++cuts; });
  const absl::Duration idle = absl::Seconds(60);
  EXPECT_FALSE(upload->CutIfStalled(absl::Seconds(0), idle));
  EXPECT_FALSE(upload->CutIfStalled(absl::Seconds(59), idle));
  ASSERT_TRUE(upload->Append(stream, 0, "01").ok());
  EXPECT_FALSE(upload->CutIfStalled(absl::Seconds(61), idle));
  EXPECT_TRUE(upload->CutIfStalled(absl::Seconds(121), idle));
  EXPECT_TRUE(upload->stalled());
  EXPECT_TRUE(upload->CutIfStalled(absl::Seconds(122), idle));
  EXPECT_EQ(cuts, 1);
  upload->Attach([&] { ++cuts; });
  EXPECT_FALSE(upload->stalled());
  upload->Attach();  // the newer stream ends the older
  EXPECT_EQ(cuts, 2);
}

TEST_F(UploadTest, HolesRepeatsAndExcessAreRefused) {
  auto upload = Open();
  const uint64_t stream = upload->Attach();
  ASSERT_TRUE(upload->Append(stream, 0, "0123").ok());
  EXPECT_TRUE(absl::IsOutOfRange(upload->Append(stream, 0, "0123")));
  EXPECT_TRUE(absl::IsOutOfRange(upload->Append(stream, 6, "67")));
  EXPECT_TRUE(absl::IsOutOfRange(upload->Append(stream, 4, "456789x")));
  EXPECT_EQ(upload->have_offset(), 4u);
}

TEST_F(UploadTest, NewStreamTakesOverFromAHalfDeadOne) {
  auto upload = Open();
  const uint64_t old_stream = upload->Attach();
  ASSERT_TRUE(upload->Append(old_stream, 0, "01").ok());
  const uint64_t stream = upload->Attach();
  EXPECT_TRUE(absl::IsAborted(upload->Append(old_stream, 2, "23")));
  EXPECT_TRUE(upload->Append(stream, 2, "23").ok());
}

TEST_F(UploadTest, NothingChangesWhileItIsChecked) {
  auto upload = Open();
  const uint64_t stream = upload->Attach();
  ASSERT_TRUE(upload->Append(stream, 0, "0123456789").ok());
  ASSERT_TRUE(upload->Claim().ok());
  EXPECT_TRUE(absl::IsUnavailable(upload->Claim()));
  EXPECT_TRUE(absl::IsFailedPrecondition(upload->Append(stream, 10, "")));
  upload->Release(Upload::Content::kDamaged);
  EXPECT_EQ(upload->have_offset(), 0u);
  EXPECT_EQ(upload->damaged_count(), 1);
}

TEST_F(UploadTest, ReplacedUploadIsGoneUnlessItIsBeingChecked) {
  auto upload = Open();
  const uint64_t stream = upload->Attach();
  ASSERT_TRUE(upload->Append(stream, 0, "0123456789").ok());
  ASSERT_TRUE(upload->Claim().ok());
  EXPECT_TRUE(absl::IsUnavailable(upload->Discard()));
  EXPECT_TRUE(PathExists(upload->path()));
  upload->Release(Upload::Content::kKept);
  EXPECT_TRUE(upload->Discard().ok());
  EXPECT_FALSE(PathExists(upload->path()));
  EXPECT_TRUE(absl::IsFailedPrecondition(upload->Claim()));
  EXPECT_TRUE(absl::IsFailedPrecondition(upload->Append(upload->Attach(), 10, "")));
}

TEST_F(UploadTest, LongerFileThanAnnouncedStartsAnew) {
  {
    auto upload = Open(10);
    ASSERT_TRUE(upload->Append(upload->Attach(), 0, "0123456789").ok());
  }
  EXPECT_EQ(Open(5)->have_offset(), 0u);
}

TEST_F(UploadTest, SweepKeepsOnlyTheRoundInProgress) {
  auto upload = Open();
  ASSERT_TRUE(staging_.MakeRoom("hippo", 2).ok());
  staging_.Sweep("hippo", {1});
  EXPECT_TRUE(PathExists(upload->path()));
  staging_.Sweep("hippo", {});
  EXPECT_FALSE(PathExists(upload->path()));
}

}  // namespace
}  // namespace consilium::coordinator
