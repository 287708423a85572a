#include "privacy/transparency/file_log.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/tile.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kOrigin[] = "consilium.example/site-a/log";

std::string EntryText(uint64_t index) { return absl::StrCat("{\"index\":", index, "}"); }
absl::StatusOr<std::string> MakeEntry(uint64_t index) { return EntryText(index); }

class FileLogTest : public testing::Test {
 protected:
  std::unique_ptr<FileLog> Open() {
    auto log = FileLog::Open(folder(), kOrigin);
    EXPECT_TRUE(log.ok()) << log.status();
    return log.ok() ? *std::move(log) : nullptr;
  }
  absl::Status OpenError() { return FileLog::Open(folder(), kOrigin).status(); }
  std::string folder() const { return JoinPath(dir_.path(), "log"); }
  std::string File(absl::string_view name) const { return JoinPath(folder(), name); }
  std::string Read(absl::string_view name) const { return *ReadFile(File(name), 1 << 24); }
  void Write(absl::string_view name, const std::string& bytes) const {
    std::ofstream(File(name), std::ios::binary | std::ios::trunc) << bytes;
  }
  // The folder as it is, to be put back.
  void Save() { fs::copy(folder(), folder() + "-saved", fs::copy_options::recursive); }
  void Restore() {
    fs::remove_all(folder());
    fs::copy(folder() + "-saved", folder(), fs::copy_options::recursive);
  }

  TempDir dir_ = *TempDir::Create("file-log");
};

TEST_F(FileLogTest, KeepsWhatWasAppendedOverARestart) {
  {
    auto log = Open();
    EXPECT_EQ(log->size(), 0u);
    EXPECT_EQ(*log->Append(1, MakeEntry), 0u);
    EXPECT_EQ(*log->Append(600, MakeEntry), 1u);
    EXPECT_EQ(*log->Append(1, MakeEntry), 601u);
  }
  auto log = Open();
  ASSERT_EQ(log->size(), 602u);
  EXPECT_THAT(log->notes(), IsEmpty());
  Frontier frontier;
  for (uint64_t i = 0; i < 602; ++i) {
    EXPECT_EQ(*log->Entry(i), EntryText(i));
    frontier.Append(LeafHash(EntryText(i)));
  }
  const auto checkpoint = OpenCheckpoint(log->checkpoint(), log->key());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->size, 602u);
  EXPECT_EQ(checkpoint->root, frontier.Root());
  EXPECT_EQ(log->Entry(602).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(FileLogTest, ProvesItsEntriesAndItsGrowth) {
  auto log = Open();
  ASSERT_TRUE(log->Append(5, MakeEntry).ok());
  const Checkpoint old = *OpenCheckpoint(log->checkpoint(), log->key());
  ASSERT_TRUE(log->Append(300, MakeEntry).ok());
  const Checkpoint now = *OpenCheckpoint(log->checkpoint(), log->key());
  const auto inclusion = log->ProveInclusion(100, now.size);
  ASSERT_TRUE(inclusion.ok()) << inclusion.status();
  EXPECT_TRUE(VerifyInclusion(LeafHash(EntryText(100)), 100, now.size, *inclusion, now.root).ok());
  const auto consistency = log->ProveConsistency(old.size, now.size);
  ASSERT_TRUE(consistency.ok()) << consistency.status();
  EXPECT_TRUE(VerifyConsistency(old.size, now.size, *consistency, old.root, now.root).ok());
  EXPECT_FALSE(log->ProveInclusion(0, 306).ok());
}

TEST_F(FileLogTest, ItsFilesAreTheBundlesOfTheFormat) {
  auto log = Open();
  ASSERT_TRUE(log->Append(300, MakeEntry).ok());
  const std::string first = Read("tile/entries/000"), second = Read("tile/entries/001");
  EXPECT_THAT(*ParseBundle(first), SizeIs(256));
  const auto entries = ParseBundle(second);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_THAT(*entries, SizeIs(44));
  EXPECT_EQ((*entries)[0], EntryText(256));
}

TEST_F(FileLogTest, ARefusedGroupLeavesNothing) {
  auto log = Open();
  ASSERT_TRUE(log->Append(3, MakeEntry).ok());
  EXPECT_FALSE(log->Append(2, [](uint64_t index) -> absl::StatusOr<std::string> {
                    if (index == 4) return absl::InternalError("no");
                    return EntryText(index);
                  }).ok());
  EXPECT_EQ(log->Append(1, [](uint64_t) -> absl::StatusOr<std::string> {
                   return std::string(kEntryBytesMax + 1, 'x');
                 }).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(log->Append(0, MakeEntry).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(log->size(), 3u);
  EXPECT_EQ(*log->Append(1, MakeEntry), 3u);
  EXPECT_EQ(Open()->size(), 4u);
}

// A crash before the checkpoint: the last append was not acknowledged. Wherever it stopped, the log
// opens with what came before, and goes on.
TEST_F(FileLogTest, ATornTailThatNobodyWasToldOfIsCut) {
  {
    auto log = Open();
    ASSERT_TRUE(log->Append(256 + 5, MakeEntry).ok());
  }
  const std::string checkpoint = Read("checkpoint");
  const std::string bundle = Read("tile/entries/001"), leaves = Read("leaves");
  ASSERT_TRUE(Open()->Append(2, MakeEntry).ok());
  const std::string full_bundle = Read("tile/entries/001"), full_leaves = Read("leaves");
  Write("checkpoint", checkpoint);
  Save();
  const size_t one = 2 + EntryText(261).size();
  for (size_t bytes = bundle.size(); bytes <= full_bundle.size(); ++bytes) {
    Restore();
    Write("tile/entries/001", full_bundle.substr(0, bytes));
    Write("leaves", leaves);  // written after the entries, so not yet there
    {
      auto log = Open();
      ASSERT_NE(log, nullptr);
      EXPECT_EQ(log->size(), 261u) << bytes;
      EXPECT_THAT(log->notes(), SizeIs(bytes == bundle.size() ? 0 : 1)) << bytes;
    }
    EXPECT_EQ(Read("tile/entries/001"), bundle);
    ASSERT_EQ(*Open()->Append(1, MakeEntry), 261u);
    EXPECT_EQ(*Open()->Entry(261), EntryText(261));
  }
  for (size_t bytes = leaves.size(); bytes <= full_leaves.size(); ++bytes) {
    Restore();
    Write("leaves", full_leaves.substr(0, bytes));
    auto log = Open();
    ASSERT_NE(log, nullptr);
    EXPECT_EQ(log->size(), 261 + (bytes - leaves.size()) / kHashBytes) << bytes;
    EXPECT_EQ(Read("tile/entries/001").size(), bundle.size() + (log->size() - 261) * one);
    EXPECT_EQ(OpenCheckpoint(log->checkpoint(), log->key())->size, log->size());
  }
}

// The same cuts after the checkpoint was written are damage: somebody was told.
TEST_F(FileLogTest, ACutIntoWhatWasAcknowledgedIsDataLossWithTheIndex) {
  ASSERT_TRUE(Open()->Append(261, MakeEntry).ok());
  const std::string bundle = Read("tile/entries/001"), leaves = Read("leaves");
  Save();
  const size_t last = 2 + EntryText(260).size();
  for (size_t cut = 1; cut <= last; ++cut) {
    Write("tile/entries/001", bundle.substr(0, bundle.size() - cut));
    const absl::Status status = OpenError();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << cut;
    EXPECT_THAT(std::string(status.message()), HasSubstr("entry 260 is missing")) << cut;
  }
  Restore();
  for (size_t cut = 1; cut <= kHashBytes; ++cut) {
    Write("leaves", leaves.substr(0, leaves.size() - cut));
    EXPECT_THAT(std::string(OpenError().message()), HasSubstr("entry 260 has no leaf")) << cut;
  }
  Restore();
  fs::remove(File("tile/entries/000"));
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("entry 0 is missing"));
  Restore();
  fs::remove(File("checkpoint"));
  EXPECT_EQ(OpenError().code(), absl::StatusCode::kDataLoss);
  Restore();
  EXPECT_EQ(Open()->size(), 261u);
}

TEST_F(FileLogTest, AnAlteredEntryIsNamed) {
  ASSERT_TRUE(Open()->Append(300, MakeEntry).ok());
  const std::string bundle = Read("tile/entries/000");
  const auto log = FileLog::OpenToRead(folder());
  ASSERT_TRUE(log.ok()) << log.status();
  std::string altered = bundle;
  altered[altered.find("117")] = '9';
  Write("tile/entries/000", altered);
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("entry 117 was altered"));
  EXPECT_EQ((*log)->Entry(117).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(FileLog::OpenToRead(folder()).status().message()),
              HasSubstr("entry 117 was altered"));
  // With its leaf hash altered too, the signed root tells.
  std::string leaves = Read("leaves");
  const Hash forged = LeafHash("{\"index\":917}");
  leaves.replace(117 * kHashBytes, kHashBytes, std::string(HashBytes(forged)));
  Write("leaves", leaves);
  const absl::Status status = OpenError();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("signed root"));
}

TEST_F(FileLogTest, TwoThatAppendInTurnMakeOneLog) {
  auto first = Open(), second = Open();
  for (uint64_t i = 0; i < 20; ++i) {
    FileLog& log = i % 2 == 0 ? *first : *second;
    ASSERT_EQ(*log.Append(1, MakeEntry), i);
  }
  EXPECT_EQ(Open()->size(), 20u);
}

TEST_F(FileLogTest, ThreadsAppendWithoutLoss) {
  auto log = Open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) EXPECT_TRUE(log->Append(1, MakeEntry).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  auto again = Open();
  ASSERT_EQ(again->size(), 40u);
  for (uint64_t i = 0; i < 40; ++i) EXPECT_EQ(*again->Entry(i), EntryText(i));
}

TEST_F(FileLogTest, AReaderSeesTheAcknowledgedOnlyAndChangesNothing) {
  EXPECT_EQ(FileLog::OpenToRead(folder()).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Open()->Append(3, MakeEntry).ok());
  Write("tile/entries/000", Read("tile/entries/000") + "torn");
  auto reader = FileLog::OpenToRead(folder());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->size(), 3u);
  EXPECT_EQ((*reader)->Append(1, MakeEntry).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Read("tile/entries/000"), HasSubstr("torn"));
}

TEST_F(FileLogTest, AFolderOfAnotherLogIsRefused) {
  ASSERT_TRUE(Open()->Append(1, MakeEntry).ok());
  const absl::Status status = FileLog::Open(folder(), "another.name").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace consilium::privacy
