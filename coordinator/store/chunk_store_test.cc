#include "coordinator/store/chunk_store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "tests/support/random.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kFarAhead = absl::FromUnixSeconds(4'000'000'000);

std::string Bytes(size_t size, uint64_t seed) {
  phantom::Random random(seed);
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i += 4096) bytes[i] = static_cast<char>(random.Next());
  return bytes;
}

class ChunkStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(store_.Prepare().ok()); }
  ManifestRecord Put(absl::string_view bytes) {
    ChunkWriter writer = store_.NewWriter();
    for (size_t at = 0; at < bytes.size(); at += 1'000'003) {
      EXPECT_TRUE(writer.Append(bytes.substr(at, 1'000'003)).ok());
    }
    auto manifest = writer.Finish();
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    return manifest.ok() ? *manifest : ManifestRecord{};
  }
  absl::StatusOr<std::string> Get(const ManifestRecord& manifest) {
    auto reader = store_.Open(manifest);
    if (!reader.ok()) return reader.status();
    std::string bytes(reader->bytes(), '\0');
    const absl::Status read = reader->ReadAt(0, bytes.data(), bytes.size());
    if (!read.ok()) return read;
    return bytes;
  }
  void Flip(const std::string& path, uint64_t at) {
    auto file = File::Open(path, File::Mode::kReadWriteCreate);
    char byte = 0;
    ASSERT_TRUE(file->ReadAt(at, &byte, 1).ok());
    byte = static_cast<char>(byte ^ 1);
    ASSERT_TRUE(file->WriteAt(at, absl::string_view(&byte, 1)).ok());
  }
  size_t Files() { return store_.List(nullptr)->size(); }

  TempDir temp_ = TempDir::Create("chunks").value();
  ChunkStore store_{JoinPath(temp_.path(), "chunks")};
};

TEST_F(ChunkStoreTest, WhatWasWrittenIsReadBackFromPiecesUnderTheirDigests) {
  uint64_t seed = 1;
  for (const size_t size : {size_t{1}, kChunkFileBytes - 1, kChunkFileBytes, kChunkFileBytes + 1,
                            5 * kChunkFileBytes / 2}) {
    const std::string bytes = Bytes(size, ++seed);
    const ManifestRecord manifest = Put(bytes);
    EXPECT_EQ(manifest.sha256, privacy::Sha256Hex(bytes));
    EXPECT_EQ(manifest.bytes, static_cast<int64_t>(size));
    ASSERT_EQ(manifest.chunks.size(), (size + kChunkFileBytes - 1) / kChunkFileBytes);
    EXPECT_EQ(manifest.chunks[0],
              privacy::Sha256Hex(absl::string_view(bytes).substr(0, kChunkFileBytes)));
    EXPECT_TRUE(PathExists(store_.ChunkPath(manifest.chunks[0])));
    EXPECT_EQ(*Get(manifest), bytes);
    const auto reader = store_.Open(manifest);
    for (const uint64_t at : {uint64_t{0}, uint64_t{size / 2}, uint64_t{size - 1}}) {
      std::string piece(std::min<size_t>(size - at, 100), '\0');
      ASSERT_TRUE(reader->ReadAt(at, piece.data(), piece.size()).ok());
      EXPECT_EQ(piece, bytes.substr(at, piece.size()));
    }
    char one;
    EXPECT_TRUE(absl::IsOutOfRange(reader->ReadAt(size, &one, 1)));
  }
  EXPECT_TRUE(std::filesystem::is_empty(JoinPath(store_.folder(), "incoming")));
}

TEST_F(ChunkStoreTest, ReadersShareOneCopyOfAChunk) {
  const ManifestRecord manifest = Put(Bytes(2 * kChunkFileBytes, 1));
  const auto a = store_.Open(manifest), b = store_.Open(manifest);
  const ChunkPtr first = *a->Chunk(1), second = *b->Chunk(1);
  EXPECT_EQ(first.get(), second.get());
}

TEST_F(ChunkStoreTest, ReadingFrontToBackJumpingAndLeavingEarlyGiveTheSameBytes) {
  constexpr size_t kChunks = 9;
  const std::string bytes = Bytes(kChunks * kChunkFileBytes - 5, 7);
  const ManifestRecord manifest = Put(bytes);
  ChunkStore fresh(store_.folder());  // one that has to check digests
  for (ChunkStore* const store : {&store_, &fresh}) {
    const auto piece = [&](size_t index) {
      return absl::string_view(bytes).substr(index * kChunkFileBytes, kChunkFileBytes);
    };
    const auto reader = store->Open(manifest);
    for (const size_t index : {0, 1, 2, 3, 7, 8, 2, 3, 3, 4, 5, 0, 1}) {
      const auto chunk = reader->Chunk(index);
      ASSERT_TRUE(chunk.ok()) << chunk.status();
      EXPECT_TRUE((*chunk)->view() == piece(index)) << index;
    }
    for (size_t last = 1; last < kChunks; ++last) {
      const auto leaves = store->Open(manifest);
      for (size_t index = 0; index < last; ++index) ASSERT_TRUE(leaves->Chunk(index).ok());
    }
  }
}

TEST_F(ChunkStoreTest, ManyReadersAtOnceGetTheSameBytes) {
  constexpr size_t kChunks = 6;
  const std::string bytes = Bytes(kChunks * kChunkFileBytes, 8);
  const ManifestRecord manifest = Put(bytes);
  ChunkStore fresh(store_.folder());
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto reader = fresh.Open(manifest);
      std::string got(bytes.size(), '\0');
      for (size_t at = 0; at < bytes.size(); at += 1'000'003) {
        const size_t size = std::min<size_t>(1'000'003, bytes.size() - at);
        if (!reader->ReadAt(at, got.data() + at, size).ok()) return;
      }
      right += got == bytes ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 8);
}

TEST_F(ChunkStoreTest, WhatIsReadAheadIsCheckedToo) {
  const ManifestRecord manifest = Put(Bytes(8 * kChunkFileBytes, 9));
  ChunkStore fresh(store_.folder());
  for (ChunkStore* const store : {&store_, &fresh}) {
    for (const bool damaged : {false, true, false}) {
      if (damaged) Flip(store_.ChunkPath(manifest.chunks[4]), 4'000'000);
      const auto reader = store->Open(manifest);
      for (size_t index = 0; index < manifest.chunks.size(); ++index) {
        const absl::Status status = reader->Chunk(index).status();
        EXPECT_EQ(absl::IsDataLoss(status), damaged && index == 4) << index << ": " << status;
        EXPECT_EQ(status.ok(), !damaged || index != 4) << index << ": " << status;
      }
      if (damaged) Flip(store_.ChunkPath(manifest.chunks[4]), 4'000'000);
    }
  }
}

TEST_F(ChunkStoreTest, FlippedBitShorterFileAndMissingFileAreDataLossThatNamesTheChunk) {
  const ManifestRecord manifest = Put(Bytes(3 * kChunkFileBytes, 1));
  ASSERT_TRUE(Get(manifest).ok()) << "so that the damage comes after the first check";
  const std::string path = store_.ChunkPath(manifest.chunks[1]);
  Flip(path, 12345);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = Get(manifest).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(manifest.chunks[1].substr(0, 12)));
    EXPECT_THAT(std::string(status.message()), HasSubstr(manifest.sha256.substr(0, 12)));
  }
  EXPECT_TRUE(absl::IsDataLoss(store_.Verify(manifest.chunks[1])));
  EXPECT_TRUE(store_.Verify(manifest.chunks[0]).ok());
  Flip(path, 12345);
  EXPECT_TRUE(Get(manifest).ok());
  std::filesystem::resize_file(path, 100);
  EXPECT_TRUE(absl::IsDataLoss(Get(manifest).status()));
  std::filesystem::remove(path);
  EXPECT_TRUE(absl::IsDataLoss(Get(manifest).status()));
  EXPECT_TRUE(absl::IsDataLoss(store_.Verify(manifest.chunks[1])));
}

TEST_F(ChunkStoreTest, SamePieceIsStoredOnceAndADamagedOneIsHealed) {
  const std::string bytes = Bytes(2 * kChunkFileBytes, 1);
  const ManifestRecord manifest = Put(bytes);
  EXPECT_EQ(Files(), 2u);
  EXPECT_EQ(Put(bytes + "more").chunks[0], manifest.chunks[0]);
  EXPECT_EQ(Files(), 3u);
  Flip(store_.ChunkPath(manifest.chunks[0]), 0);
  Put(bytes);
  EXPECT_EQ(*Get(manifest), bytes);
}

TEST_F(ChunkStoreTest, WriterThatGivesUpLeavesNothing) {
  {
    ChunkWriter writer = store_.NewWriter();
    ASSERT_TRUE(writer.Append(Bytes(3 * kChunkFileBytes + 1, 1)).ok());
  }
  EXPECT_EQ(Files(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(JoinPath(store_.folder(), "incoming")));
  EXPECT_TRUE(absl::IsInvalidArgument(store_.NewWriter().Finish().status()));
}

TEST_F(ChunkStoreTest, KilledWriterLeavesOnlyWhatPrepareRemoves) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ChunkWriter writer = store_.NewWriter();
    for (;;) {
      if (!writer.Append(Bytes(8 * kChunkFileBytes, 1)).ok()) ::_exit(1);
      if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    }
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_TRUE(store_.Prepare().ok());
  EXPECT_TRUE(std::filesystem::is_empty(JoinPath(store_.folder(), "incoming")));
  const std::vector<ChunkStore::ChunkFile> files = *store_.List(nullptr);
  for (const auto& file : files) EXPECT_TRUE(store_.Verify(file.sha256).ok());
}

TEST_F(ChunkStoreTest, RemoveSparesWhatIsYoungOrHeldByAWriter) {
  const std::string bytes = Bytes(kChunkFileBytes, 1);
  const std::string chunk = Put(bytes).chunks[0];
  EXPECT_FALSE(*store_.Remove(chunk, absl::UnixEpoch()));
  {
    ChunkWriter writer = store_.NewWriter();
    ASSERT_TRUE(writer.Append(bytes).ok());
    ASSERT_TRUE(writer.Finish().ok());
    EXPECT_FALSE(*store_.Remove(chunk, kFarAhead));
  }
  EXPECT_FALSE(*store_.Remove(chunk, kFarAhead)) << "its manifest may have come since the mark";
  store_.BeginSweep();
  EXPECT_TRUE(*store_.Remove(chunk, kFarAhead));
  EXPECT_FALSE(*store_.Remove(chunk, kFarAhead)) << "it is gone already";
  EXPECT_EQ(Files(), 0u);
}

TEST_F(ChunkStoreTest, ModelBeingReadIsNotCondemnedAndACondemnedOneIsNotGivenOut) {
  const ManifestRecord manifest = Put("weights");
  {
    auto reader = store_.Open(manifest);
    const ModelReader moved = *std::move(reader);
    EXPECT_FALSE(store_.Condemn(manifest.sha256));
  }
  EXPECT_TRUE(store_.Condemn(manifest.sha256));
  EXPECT_TRUE(absl::IsNotFound(store_.Open(manifest).status()));
  store_.Pardon(manifest.sha256);
  EXPECT_TRUE(store_.Open(manifest).ok());
}

TEST_F(ChunkStoreTest, StrangeFilesAreNamedAndManifestsThatDoNotFitAreRefused) {
  const ManifestRecord good = Put("weights");
  ASSERT_TRUE(WriteFileAtomic(JoinPath(store_.folder(), "notes.txt"), "x").ok());
  std::vector<std::string> strangers;
  EXPECT_THAT(*store_.List(&strangers), SizeIs(1));
  EXPECT_THAT(strangers, ::testing::ElementsAre("notes.txt"));
  ManifestRecord bad = good;
  bad.chunks[0] = "../../../../etc/passwd";
  EXPECT_TRUE(absl::IsDataLoss(store_.Open(bad).status()));
  bad = good;
  bad.bytes = int64_t{1} << 40;
  EXPECT_TRUE(absl::IsDataLoss(store_.Open(bad).status()));
  bad = good;
  bad.bytes = -1;
  EXPECT_TRUE(absl::IsDataLoss(store_.Open(bad).status()));
}

}  // namespace
}  // namespace consilium::coordinator
