// A disk that is full: a small tmpfs of the test's own.
#include <sys/mount.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "coordinator/store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

class StoreFullTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::mount("consilium", temp_.path().c_str(), "tmpfs", 0, "size=400m") != 0) {
      GTEST_SKIP() << "a tmpfs cannot be mounted here";
    }
    mounted_ = true;
  }
  void TearDown() override {
    store_.reset();
    if (mounted_) ::umount2(temp_.path().c_str(), MNT_DETACH);
  }
  void Open() {
    StoreOptions options;
    options.path = Path("store");
    options.ballast_path = Path("ballast");
    auto store = Store::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string Path(const char* name) const { return JoinPath(temp_.path(), name); }
  // A change of 1 MB, so that a full disk is soon noticed.
  absl::StatusOr<uint64_t> CommitLarge() {
    Batch batch;
    StudyRecord study;
    study.name = "hippo";
    study.yaml = std::string(1'000'000, 'x');
    batch.Put(study);
    AuditFacts facts;
    facts.actor = facts.role = "coordinator";
    facts.action = "study.change";
    batch.Audit(facts);
    return store_->Commit(batch, kNow);
  }
  void FillDisk() {
    auto file = File::Open(Path("filler"), File::Mode::kReadWriteCreate);
    ASSERT_TRUE(file.ok());
    uint64_t at = 0;
    for (const size_t piece : {size_t{1} << 20, size_t{4096}}) {
      const std::string zeros(piece, '\0');
      while (file->WriteAt(at, zeros).ok()) at += piece;
    }
  }
  size_t Count(const std::string& action) {
    AuditQuery query;
    query.action = action;
    return store_->SearchAudit(query)->size();
  }

  TempDir temp_ = TempDir::Create("full").value();
  bool mounted_ = false;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreFullTest, TheFailureIsRecordedNothingElseIsAndWorkGoesOnWithSpace) {
  Open();
  ASSERT_TRUE(PathExists(Path("ballast")));
  ASSERT_TRUE(CommitLarge().ok());
  FillDisk();
  uint64_t acknowledged = 1;
  absl::Status status;
  for (int i = 0; i < 200 && status.ok(); ++i) {
    status = CommitLarge().status();
    if (status.ok()) ++acknowledged;
  }
  ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(Count("store.full"), 1u);
  EXPECT_EQ(Count("study.change"), acknowledged) << "nothing of what was refused is there";
  EXPECT_EQ(store_->AuditSize(), acknowledged + 1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(absl::IsResourceExhausted(CommitLarge().status()));
  EXPECT_EQ(Count("store.full"), 1u) << "said once";
  EXPECT_FALSE(PathExists(Path("ballast")));
  EXPECT_TRUE(absl::IsResourceExhausted(store_->Writable()));

  ASSERT_EQ(::unlink(Path("filler").c_str()), 0);
  const auto resumed = CommitLarge();
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(Count("store.resume"), 1u);
  EXPECT_TRUE(PathExists(Path("ballast")));
  EXPECT_TRUE(store_->Writable().ok());
  const uint64_t size = store_->AuditSize();
  store_.reset();
  Open();
  EXPECT_EQ(store_->AuditSize(), size);
  EXPECT_TRUE(store_->VerifyAudit().ok());
  EXPECT_THAT(*store_->Studies(), SizeIs(1));
}

}  // namespace
}  // namespace consilium::coordinator
