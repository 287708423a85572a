#include <atomic>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/bytes.h"
#include "proto/base/cli.h"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/thread_pool.h"

namespace consilium {
namespace {

TEST(Crc32cTest, MatchesRfc3720AppendixB4) {
  std::string ascending(32, '\0');
  for (size_t i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(ExtendCrc32c(Crc32c("1234"), "56789"), 0xe3069283u);
}

TEST(Crc32cTest, OfManyBytesIsThatOfItsPieces) {
  std::string bytes(100'003, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 7);
  for (const size_t size : {size_t{12'287}, size_t{12'288}, size_t{24'577}, bytes.size()}) {
    const absl::string_view whole = absl::string_view(bytes).substr(0, size);
    uint32_t crc = 0;
    for (size_t at = 0; at < size; at += 997) crc = ExtendCrc32c(crc, whole.substr(at, 997));
    EXPECT_EQ(Crc32c(whole), crc) << size;
  }
}

TEST(HexTest, RoundTripsAndRefusesBadText) {
  EXPECT_EQ(HexDecode("00fF10").value(), std::string("\x00\xff\x10", 3));
  EXPECT_EQ(HexEncode(std::string("\x00\xff\x10", 3)), "00ff10");
  EXPECT_FALSE(HexDecode("abc").ok());
  EXPECT_FALSE(HexDecode("zz").ok());
}

TEST(BytesTest, LittleEndianRoundTripAndBigEndianOrder) {
  char buffer[8];
  StoreLe64(0x0123456789abcdefull, buffer);
  EXPECT_EQ(buffer[0], '\xef');
  EXPECT_EQ(LoadLe64(buffer), 0x0123456789abcdefull);
  EXPECT_LT(BigEndian64(255), BigEndian64(256));
}

TEST(NameTest, AcceptsFileSafeNamesOnly) {
  EXPECT_TRUE(CheckName("site", "site-a").ok());
  EXPECT_FALSE(CheckName("site", "").ok());
  EXPECT_FALSE(CheckName("site", "../etc").ok());
  EXPECT_FALSE(CheckName("site", "Site").ok());
  EXPECT_FALSE(CheckName("site", std::string(64, 'a')).ok());
}

TEST(FileTest, AtomicWriteReplacesAndSetsMode) {
  auto dir = TempDir::Create("file_test");
  ASSERT_TRUE(dir.ok());
  const std::string path = JoinPath(dir->path(), "x");
  ASSERT_TRUE(WriteFileAtomic(path, "one", kPrivateFile).ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two", kPrivateFile).ok());
  EXPECT_EQ(ReadFile(path, 10).value(), "two");
  EXPECT_EQ(ReadFile(path, 2).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadFile(path + "y", 2).status().code(), absl::StatusCode::kNotFound);
}

TEST(FileTest, PositionedAccessStopsAtTheEnd) {
  auto dir = TempDir::Create("file_test");
  ASSERT_TRUE(dir.ok());
  auto file = File::Open(JoinPath(dir->path(), "x"), File::Mode::kReadWriteCreate);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->WriteAt(4, "abcd").ok());
  char out[4];
  ASSERT_TRUE(file->ReadAt(4, out, 4).ok());
  EXPECT_EQ(std::string(out, 4), "abcd");
  EXPECT_EQ(file->ReadAt(6, out, 4).code(), absl::StatusCode::kOutOfRange);
}

TEST(FileTest, ErrorsNameTheFileButNotItsFolder) {
  const auto result = ReadFile("/nowhere/Okafor^Amara/x.dcm", 10);
  EXPECT_THAT(std::string(result.status().message()), testing::Not(testing::HasSubstr("Okafor")));
}

TEST(TableTest, PadsTextLeftAndNumbersRight) {
  EXPECT_EQ(FormatTable({{"site", "cases"}, {"a", "7"}, {"béta", "140"}}),
            "site  cases\na         7\nbéta    140\n");
}

TEST(ExitCodeTest, FollowsTheContract) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), ExitCode::kOk);
  EXPECT_EQ(ExitCodeFor(absl::InvalidArgumentError("")), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeFor(absl::PermissionDeniedError("")), ExitCode::kDenied);
  EXPECT_EQ(ExitCodeFor(absl::DataLossError("")), ExitCode::kInternal);
}

TEST(ThreadPoolTest, WaitReturnsAfterAllWork) {
  std::atomic<int> done = 0;
  ThreadPool pool(3);
  for (int i = 0; i < 100; ++i) pool.Schedule([&] { ++done; });
  pool.Wait();
  EXPECT_EQ(done, 100);
}

}  // namespace
}  // namespace consilium
