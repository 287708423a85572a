#include "proto/wire/chunk_frame.h"

#include "gtest/gtest.h"
#include "proto/base/bytes.h"
#include "proto/wire/transport.h"

namespace consilium::wire {
namespace {

std::string Joined(const ChunkFrame& frame) {
  std::string data;
  for (const absl::string_view piece : frame.data) data.append(piece.data(), piece.size());
  return data;
}

v1::UploadChunk Message(const std::string& data) {
  v1::UploadChunk message;
  message.set_upload_id("upload-7");
  *message.mutable_chunk() = MakeChunk(300, data);
  return message;
}

TEST(ChunkFrameTest, ProtobufReadsWhatIsWritten) {
  const std::string data(1000, 'x');
  v1::UploadChunk message;
  ASSERT_TRUE(message.ParseFromString(
      UploadChunkHeader("upload-7", 300, Crc32c(data), data.size()) + data));
  EXPECT_EQ(message.SerializeAsString(), Message(data).SerializeAsString());
  v1::Chunk chunk;
  ASSERT_TRUE(chunk.ParseFromString(ChunkHeader(0, Crc32c(data), data.size()) + data));
  EXPECT_EQ(chunk.data(), data);
  EXPECT_EQ(chunk.crc32c(), Crc32c(data));
}

TEST(ChunkFrameTest, ReadsWhatProtobufWroteHoweverItIsCut) {
  const std::string data = "the payload of a chunk";
  const std::string bytes = Message(data).SerializeAsString();
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    for (size_t second = cut; second <= bytes.size(); second += 5) {
      const absl::string_view whole = bytes;
      const auto frame = ParseUploadChunk(
          {whole.substr(0, cut), whole.substr(cut, second - cut), whole.substr(second)});
      ASSERT_TRUE(frame.ok()) << frame.status();
      EXPECT_EQ(frame->upload_id, "upload-7");
      EXPECT_EQ(frame->bytes, data.size());
      EXPECT_EQ(Joined(*frame), data);
      EXPECT_TRUE(CheckFrame(*frame, 300, 300 + data.size()).ok());
    }
  }
}

TEST(ChunkFrameTest, CutMessagesAreRefusedAndNothingCrashes) {
  const std::string bytes = Message("the payload of a chunk").SerializeAsString();
  for (size_t size = 1; size < bytes.size(); ++size) {
    const auto frame = ParseUploadChunk({absl::string_view(bytes).substr(0, size)});
    // A cut between two fields is a shorter message; it fails as a chunk.
    EXPECT_FALSE(frame.ok() && CheckFrame(*frame, 300, 1000).ok()) << size;
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const char c : {'\x00', '\x7f', '\xff'}) {
      std::string damaged = bytes;
      damaged[at] = c;
      const auto frame = ParseUploadChunk({absl::string_view(damaged)});
      if (frame.ok()) CheckFrame(*frame, 300, 1000).IgnoreError();
    }
  }
  const std::string long_id = UploadChunkHeader(std::string(300, 'i'), 0, 0, 0);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseUploadChunk({long_id}).status()));
}

TEST(ChunkFrameTest, UnknownFieldsArePassedOver) {
  v1::BeginUploadRequest other;  // 7 is a string, 3 a varint that UploadChunk does not have
  other.set_sha256("abc");
  other.set_round(3);
  const std::string bytes = Message("data").SerializeAsString() + other.SerializeAsString();
  const auto frame = ParseUploadChunk({absl::string_view(bytes)});
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(Joined(*frame), "data");
}

TEST(ChunkFrameTest, WrongPlacesAndSumsAreRefused) {
  const std::string bytes = MakeChunk(300, "data").SerializeAsString();
  const auto frame = ParseChunk({absl::string_view(bytes)});
  ASSERT_TRUE(frame.ok());
  EXPECT_TRUE(CheckFrame(*frame, 300, 304).ok());
  EXPECT_TRUE(absl::IsOutOfRange(CheckFrame(*frame, 299, 304)));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckFrame(*frame, 300, 303)));
  ChunkFrame damaged = *frame;
  damaged.crc32c ^= 1;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckFrame(damaged, 300, 304)));
}

}  // namespace
}  // namespace consilium::wire
