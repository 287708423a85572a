#include "proto/wire/transport.h"

#include "gtest/gtest.h"

namespace consilium::wire {
namespace {

TEST(StatusTest, CodesAndMessagesCrossTheWire) {
  const absl::Status status = absl::FailedPreconditionError("round 3 is over");
  EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
}

TEST(StatusTest, ForeignTextIsBoundedAndOneLine) {
  const grpc::Status foreign(grpc::StatusCode::INTERNAL, "a\nb" + std::string(10'000, 'x'));
  const absl::Status status = FromGrpc(foreign);
  EXPECT_EQ(status.message().size(), 500u);
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
}

TEST(ChunkTest, DamageAndDisorderAreSeen) {
  v1::Chunk chunk = MakeChunk(4, "abcd");
  EXPECT_TRUE(CheckChunk(chunk, 4, 8).ok());
  EXPECT_EQ(CheckChunk(chunk, 0, 8).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CheckChunk(chunk, 4, 7).code(), absl::StatusCode::kInvalidArgument);
  (*chunk.mutable_data())[1] ^= 1;
  EXPECT_EQ(CheckChunk(chunk, 4, 8).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckChunk(MakeChunk(0, ""), 0, 8).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::wire
