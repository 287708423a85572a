#include "proto/wire/retry.h"

#include "consilium/v1/retry.pb.h"
#include "gtest/gtest.h"
#include "proto/wire/transport.h"

namespace consilium::wire {
namespace {

const absl::Status kFull = absl::ResourceExhaustedError("the disk is nearly full");

TEST(RetryTest, WishTravelsThroughGrpcsStatusDetails) {
  const absl::Status told = FromGrpc(ToGrpc(WithRetryAfter(kFull, absl::Milliseconds(2500))));
  EXPECT_EQ(told.code(), kFull.code());
  EXPECT_EQ(told.message(), kFull.message());
  EXPECT_EQ(RetryAfter(told), absl::Milliseconds(2500));
  EXPECT_FALSE(RetryAfter(FromGrpc(ToGrpc(kFull))).has_value());
  EXPECT_TRUE(WithRetryAfter(absl::OkStatus(), absl::Seconds(1)).ok());
}

// The bytes as google.rpc defines them: Status{8, "x", [Any{url, RetryInfo{Duration{7}}}]}.
TEST(RetryTest, BytesAreThoseOfGoogleRpc) {
  const std::string url = "type.googleapis.com/google.rpc.RetryInfo";
  const std::string info("\x0a\x02\x08\x07", 4);
  const std::string any = "\x0a" + std::string(1, static_cast<char>(url.size())) + url + "\x12\x04" + info;
  const std::string bytes =
      std::string("\x08\x08\x12\x01x\x1a", 6) + std::string(1, static_cast<char>(any.size())) + any;
  EXPECT_EQ(ToGrpc(WithRetryAfter(absl::ResourceExhaustedError("x"), absl::Seconds(7))).error_details(),
            bytes);
  EXPECT_EQ(RetryAfter(FromGrpc(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "x", bytes))),
            absl::Seconds(7));
}

TEST(RetryTest, WishOfAPeerIsBounded) {
  v1::RetryInfo info;
  const auto told = [&](int64_t seconds, int32_t nanos) {
    info.mutable_retry_delay()->set_seconds(seconds);
    info.mutable_retry_delay()->set_nanos(nanos);
    v1::ErrorStatus details;
    google::protobuf::Any& any = *details.add_details();
    any.set_type_url("type.googleapis.com/google.rpc.RetryInfo");
    any.set_value(info.SerializeAsString());
    return RetryAfter(FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "later",
                                            details.SerializeAsString())));
  };
  EXPECT_EQ(told(INT64_MAX, INT32_MAX), kRetryAfterMax);
  EXPECT_EQ(told(315'576'000'000, 0), kRetryAfterMax);
  EXPECT_EQ(told(INT64_MIN, INT32_MIN), absl::ZeroDuration());
  EXPECT_EQ(told(-1, 0), absl::ZeroDuration());
}

TEST(RetryTest, ForeignBytesSayNothing) {
  for (const std::string& bytes : {std::string("\xff\xff\xff"), std::string(1 << 20, 'a')}) {
    const absl::Status status =
        FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "later", bytes));
    EXPECT_TRUE(absl::IsUnavailable(status));
    EXPECT_FALSE(RetryAfter(status).has_value());
  }
}

}  // namespace
}  // namespace consilium::wire
