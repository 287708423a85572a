#include "site_agent/intake/sample_file.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "privacy/crypto/random.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kBytesMax = uint64_t{64} << 20;

// Once plain, once encrypted.
class SampleFileTest : public testing::TestWithParam<bool> {
 protected:
  SampleFileTest() : dir_(TempDir::Create("sample_file_test").value()) {}
  const privacy::SecretBytes* key() const { return GetParam() ? &key_ : nullptr; }
  std::string Path() const { return JoinPath(dir_.path(), "sample"); }
  absl::Status Write(const std::string& header, const std::vector<std::string>& body) const {
    const std::vector<absl::string_view> pieces(body.begin(), body.end());
    return WriteSampleFile(Path(), header, pieces, key());
  }
  // Header and body, or why not. Reads in steps that fit neither blocks nor pieces.
  absl::StatusOr<std::string> ReadAll(const privacy::SecretBytes* with) const {
    absl::StatusOr<SampleFile> file = SampleFile::Open(Path(), with);
    if (!file.ok()) return file.status();
    std::string text = file->header();
    for (uint64_t left = file->body_bytes(); left > 0;) {
      std::string some(std::min<uint64_t>(left, 700'001), '\0');
      const absl::Status status = file->Read(absl::MakeSpan(some));
      if (!status.ok()) return status;
      text += some;
      left -= some.size();
    }
    char more = 0;
    EXPECT_TRUE(absl::IsOutOfRange(file->Read(absl::MakeSpan(&more, 1))));
    return text;
  }

  TempDir dir_;
  privacy::SecretBytes key_ = privacy::RandomSecret(kSampleKeyBytes);
};

TEST_P(SampleFileTest, WhatIsWrittenIsReadWhateverItsLength) {
  for (const size_t bytes : {size_t{0}, size_t{1}, kSampleBlockBytes - 1, kSampleBlockBytes,
                             kSampleBlockBytes + 1, 3 * kSampleBlockBytes + 12345}) {
    const std::string body = privacy::RandomBytes(bytes);
    ASSERT_TRUE(Write("header", {body.substr(0, bytes / 3), "", body.substr(bytes / 3)}).ok());
    const auto read = ReadAll(key());
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(*read == "header" + body) << bytes;
    EXPECT_EQ(FileBytes(Path()).value(), SampleFileBytes(6, bytes, GetParam()));
    struct stat info;
    ASSERT_EQ(::stat(Path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
}

TEST_P(SampleFileTest, NoDamageGoesUnnoticed) {
  ASSERT_TRUE(Write("header", {std::string(2000, 'a')}).ok());
  const std::string whole = ReadFile(Path(), kBytesMax).value();
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x04);
    ASSERT_TRUE(ReplaceFile(Path(), damaged).ok());
    EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status())) << at;
  }
  for (size_t keep = 0; keep < whole.size(); keep += 7) {
    ASSERT_TRUE(ReplaceFile(Path(), whole.substr(0, keep)).ok());
    EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status())) << keep;
  }
  ASSERT_TRUE(ReplaceFile(Path(), whole + "x").ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status()));
  std::filesystem::remove(Path());
  EXPECT_TRUE(absl::IsNotFound(ReadAll(key()).status()));
  std::filesystem::create_directory(Path());
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status()));
}

TEST_P(SampleFileTest, BlocksStayInTheirPlaceAndTheirFile) {
  const size_t stored = kSampleBlockBytes + (GetParam() ? 16 : 0);
  ASSERT_TRUE(Write("header", {privacy::RandomBytes(2 * kSampleBlockBytes)}).ok());
  const std::string first = ReadFile(Path(), kBytesMax).value();
  const size_t body = first.size() - 2 * stored;
  const std::string swapped =
      first.substr(0, body) + first.substr(body + stored) + first.substr(body, stored);
  ASSERT_TRUE(ReplaceFile(Path(), swapped).ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status()));
  ASSERT_TRUE(Write("header", {privacy::RandomBytes(2 * kSampleBlockBytes)}).ok());
  const std::string second = ReadFile(Path(), kBytesMax).value();
  ASSERT_TRUE(ReplaceFile(Path(), second.substr(0, body) + first.substr(body)).ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status()));
}

TEST_P(SampleFileTest, LengthsOfAHostileFileAreNotBelieved) {
  ASSERT_TRUE(Write("header", {"body"}).ok());
  const std::string whole = ReadFile(Path(), kBytesMax).value();
  for (const size_t at : {size_t{8}, size_t{16}}) {
    for (const char high : {'\x7f', '\xff'}) {
      std::string lying = whole;
      lying[at + 7] = high;
      ASSERT_TRUE(ReplaceFile(Path(), lying).ok());
      EXPECT_TRUE(absl::IsDataLoss(ReadAll(key()).status()));
    }
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Write(std::string(kSampleHeaderBytesMax + 1, 'h'), {})));
}

INSTANTIATE_TEST_SUITE_P(Forms, SampleFileTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Encrypted" : "Plain"; });

TEST(SampleFileKeyTest, OnlyItsKeyOpensItAndNothingShows) {
  const TempDir dir = TempDir::Create("sample_file_test").value();
  const std::string path = JoinPath(dir.path(), "sample");
  const privacy::SecretBytes key = privacy::RandomSecret(kSampleKeyBytes);
  const privacy::SecretBytes other = privacy::RandomSecret(kSampleKeyBytes);
  const std::string body(100'000, 'p');
  ASSERT_TRUE(WriteSampleFile(path, "the header", {body}, &key).ok());
  const std::string first = ReadFile(path, kBytesMax).value();
  EXPECT_FALSE(absl::StrContains(first, "header"));
  EXPECT_FALSE(absl::StrContains(first, "pppp"));
  EXPECT_TRUE(IsEncryptedSample(path));
  EXPECT_TRUE(absl::IsDataLoss(SampleFile::Open(path, &other).status()));
  EXPECT_TRUE(absl::IsDataLoss(SampleFile::Open(path, nullptr).status()));
  EXPECT_TRUE(SampleFile::Open(path, &key).ok());
  // The same again is another file: no key is ever used with one nonce twice.
  ASSERT_TRUE(WriteSampleFile(path, "the header", {body}, &key).ok());
  EXPECT_NE(ReadFile(path, kBytesMax).value().substr(56), first.substr(56));
  const privacy::SecretBytes shorter = privacy::RandomSecret(16);
  EXPECT_TRUE(absl::IsInvalidArgument(WriteSampleFile(path, "h", {body}, &shorter)));
  ASSERT_TRUE(WriteSampleFile(path, "the header", {body}, nullptr).ok());
  EXPECT_FALSE(IsEncryptedSample(path));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}),
            1);  // nothing is left
}

}  // namespace
}  // namespace consilium::agent
