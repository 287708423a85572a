#include "site_agent/dicomweb/multipart.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::dicomweb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Part {
  std::string type;
  std::string bytes;
  bool whole = false;
};

class Parts final : public PartSink {
 public:
  absl::Status Begin(absl::string_view content_type) override {
    parts.push_back({std::string(content_type), "", false});
    return absl::OkStatus();
  }
  absl::Status Bytes(absl::string_view bytes) override {
    absl::StrAppend(&parts.back().bytes, bytes);
    return absl::OkStatus();
  }
  absl::Status End(const absl::Status& whole) override {
    parts.back().whole = whole.ok();
    return absl::OkStatus();
  }
  std::vector<std::string> Contents() const {
    std::vector<std::string> out;
    for (const Part& part : parts) out.push_back(part.bytes);
    return out;
  }
  std::vector<Part> parts;
};

absl::Status Read(absl::string_view text, size_t piece, Parts& parts) {
  MultipartReader reader("b", parts);
  for (size_t at = 0; at < text.size(); at += piece) {
    if (const absl::Status fed = reader.Feed(text.substr(at, piece)); !fed.ok()) return fed;
  }
  return reader.Finish();
}

// The same in every cut into pieces.
absl::Status ReadAnyhow(absl::string_view text, Parts& parts) {
  const absl::Status status = Read(text, text.size() + 1, parts);
  for (const size_t piece : {1, 2, 3, 5, 7, 64}) {
    Parts others;
    EXPECT_EQ(Read(text, piece, others).code(), status.code()) << piece;
    if (!status.ok()) continue;
    EXPECT_EQ(others.Contents(), parts.Contents()) << piece;
  }
  return status;
}

TEST(MultipartTest, PartsComeOutByteForByte) {
  const std::string binary("\0\r\n--\r\n-\r\n--a\r\n\xff", 17);
  Parts parts;
  ASSERT_TRUE(ReadAnyhow(absl::StrCat("--b\r\nContent-Type: application/dicom\r\n",
                                      "Content-Length: ", binary.size(), "\r\n\r\n", binary,
                                      "\r\n--b\r\n\r\n\r\n--b \t\r\nX: y\r\n\r\nlast\r\n--b--"),
                         parts)
                  .ok());
  EXPECT_THAT(parts.Contents(), ElementsAre(binary, "", "last"));
  EXPECT_EQ(parts.parts[0].type, "application/dicom");
  EXPECT_TRUE(parts.parts[0].whole);
}

TEST(MultipartTest, WhatStandsAroundThePartsIsDropped) {
  Parts parts;
  ASSERT_TRUE(
      ReadAnyhow("hello\r\n--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\nnot a part\r\n--b--", parts).ok());
  EXPECT_THAT(parts.Contents(), ElementsAre("x"));
  Parts none;
  ASSERT_TRUE(ReadAnyhow("--b--", none).ok());
  EXPECT_THAT(none.parts, IsEmpty());
  const std::string around(kAroundBytesMax + 1, 'p');
  EXPECT_FALSE(ReadAnyhow(around + "\r\n--b--", none).ok());
  EXPECT_FALSE(ReadAnyhow("--b--" + around, none).ok());
}

TEST(MultipartTest, ABodyWithoutItsFinalBoundaryIsNotWhole) {
  const std::string whole = "--b\r\nContent-Type: application/dicom\r\n\r\nobject\r\n--b--";
  for (size_t size = 0; size < whole.size(); ++size) {
    Parts parts;
    EXPECT_TRUE(absl::IsInvalidArgument(ReadAnyhow(whole.substr(0, size), parts))) << size;
  }
}

TEST(MultipartTest, GamesWithBoundariesAreRefused) {
  for (const char* body : {"--bb\r\n\r\nx\r\n--bb--", "--b x\r\n\r\nx\r\n--b--", "--b\n\nx\n--b--",
                           "--b-\r\n\r\nx", "--b\r\n\r\nx\r\n--bc\r\n--b--"}) {
    Parts parts;
    EXPECT_TRUE(absl::IsInvalidArgument(ReadAnyhow(body, parts))) << body;
  }
  Parts padded;
  EXPECT_FALSE(ReadAnyhow("--b" + std::string(65, ' ') + "\r\n\r\nx\r\n--b--", padded).ok());
}

TEST(MultipartTest, HeadsAreBoundedAndStrict) {
  const auto with = [](const std::string& head) {
    Parts parts;
    return ReadAnyhow("--b\r\n" + head + "\r\n\r\nx\r\n--b--", parts);
  };
  EXPECT_TRUE(with("A: " + std::string(kPartHeadBytesMax - 20, 'x')).ok());
  EXPECT_FALSE(with("A: " + std::string(kPartHeadBytesMax, 'x')).ok());
  EXPECT_FALSE(with("A: " + std::string(10 * kPartHeadBytesMax, 'x')).ok());
  for (const std::string& head :
       {std::string("no colon"), std::string("A : b"), std::string("A: b\r\n folded"),
        std::string("A: b\r\n\tfolded: x"), std::string(": b"), std::string("A: \0", 4),
        std::string("A: b\nB: c"), std::string("Content-Encoding: gzip"),
        std::string("Content-Transfer-Encoding: base64"), std::string("Content-Length: -1"),
        std::string("Content-Length: 1\r\nContent-Length: 1"),
        std::string("Content-Type: a/b\r\nContent-Type: a/b")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(with(head))) << head;
  }
}

TEST(MultipartTest, ALengthThatLiesIsToldAndDoesNotMoveTheEnd) {
  for (const char* length : {"0", "5", "7", "18446744073709551615"}) {
    Parts parts;
    ASSERT_TRUE(ReadAnyhow(absl::StrCat("--b\r\nContent-Length: ", length,
                                        "\r\n\r\nobject\r\n--b\r\n\r\nnext\r\n--b--"),
                           parts)
                    .ok());
    EXPECT_THAT(parts.Contents(), ElementsAre("object", "next"));
    EXPECT_FALSE(parts.parts[0].whole) << length;
    EXPECT_TRUE(parts.parts[1].whole);
  }
}

TEST(MultipartTest, NamesThatPartsGiveThemselvesGoNowhere) {
  Parts parts;
  ASSERT_TRUE(ReadAnyhow("--b\r\nContent-Location: ../../etc/passwd\r\n"
                         "Content-Disposition: attachment; filename=\"/etc/shadow\"\r\n\r\n"
                         "x\r\n--b--",
                         parts)
                  .ok());
  EXPECT_THAT(parts.Contents(), ElementsAre("x"));
  EXPECT_EQ(parts.parts[0].type, "");
}

TEST(MultipartTest, TheSinkEndsTheReading) {
  class Full final : public PartSink {
   public:
    absl::Status Begin(absl::string_view) override { return absl::OkStatus(); }
    absl::Status Bytes(absl::string_view) override { return absl::ResourceExhaustedError("full"); }
    absl::Status End(const absl::Status&) override { return absl::OkStatus(); }
  } full;
  MultipartReader reader("b", full);
  EXPECT_TRUE(absl::IsResourceExhausted(reader.Feed("--b\r\n\r\nmany bytes of an object")));
}

TEST(MultipartTest, AsManyPartsAsAllowed) {
  Parts parts;
  MultipartReader reader("b", parts);
  absl::Status status;
  for (int64_t i = 0; i <= kPartsMax && status.ok(); ++i) status = reader.Feed("--b\r\n\r\n\r\n");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(static_cast<int64_t>(parts.parts.size()), kPartsMax);
}

}  // namespace
}  // namespace consilium::dicomweb
