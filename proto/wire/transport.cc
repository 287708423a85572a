#include "proto/wire/transport.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "consilium/v1/retry.pb.h"
#include "proto/base/bytes.h"
#include "proto/base/clock.h"
#include "proto/base/status.h"
#include "proto/wire/retry.h"
#include "proto/wire/timeouts.h"

namespace consilium::wire {
namespace {

constexpr size_t kPeerMessageBytesMax = 500;
const int kKeepaliveMs = static_cast<int>(kKeepalive / absl::Milliseconds(1));
const int kKeepaliveTimeoutMs = static_cast<int>(kKeepaliveAnswer / absl::Milliseconds(1));
constexpr int kReconnectMinMs = 500;
constexpr int kReconnectMaxMs = 15'000;
constexpr const char* kRetryInfoUrl = "type.googleapis.com/google.rpc.RetryInfo";
constexpr size_t kDetailsBytesMax = 8 * 1024;

// The status details (google.rpc.Status) of a status that says when to come back; empty: it does not.
std::string ErrorDetails(const absl::Status& status) {
  const std::optional<absl::Duration> delay = RetryAfter(status);
  if (!delay) return "";
  v1::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(*delay));
  info.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(*delay % absl::Seconds(1))));
  v1::ErrorStatus details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  google::protobuf::Any& any = *details.add_details();
  any.set_type_url(kRetryInfoUrl);
  any.set_value(info.SerializeAsString());
  return details.SerializeAsString();
}

// `status` with what a peer's status details say of coming back. Foreign bytes that do not read say
// nothing.
absl::Status WithDetails(absl::Status status, const std::string& bytes) {
  v1::ErrorStatus details;
  if (bytes.empty() || bytes.size() > kDetailsBytesMax || !details.ParseFromString(bytes)) {
    return status;
  }
  for (const google::protobuf::Any& any : details.details()) {
    v1::RetryInfo info;
    if (any.type_url() != kRetryInfoUrl || !info.ParseFromString(any.value())) continue;
    const auto& delay = info.retry_delay();
    return WithRetryAfter(std::move(status),
                          absl::Seconds(delay.seconds()) + absl::Nanoseconds(delay.nanos()));
  }
  return status;
}

}  // namespace

void RequireTls13() {
  // A TLS 1.2 suite that needs a pre-shared key: none is configured, so no 1.2 handshake succeeds.
  // TLS 1.3 suites are a separate list in OpenSSL and stay.
  ::setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", /*overwrite=*/1);
}

std::shared_ptr<grpc::ServerCredentials> ServerTls(const TlsFiles& files, PeerCertificate peer) {
  grpc::SslServerCredentialsOptions options(
      peer == PeerCertificate::kRequired
          ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
          : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  options.pem_root_certs = files.ca_pem;
  options.pem_key_cert_pairs.push_back({files.key_pem, files.certificate_pem});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::Channel> ConnectTls(const std::string& address, const TlsFiles& files,
                                          const std::string& server_name,
                                          Connection connection) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = files.ca_pem;
  options.pem_cert_chain = files.certificate_pem;
  options.pem_private_key = files.key_pem;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMinMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  if (connection == Connection::kOwn) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!server_name.empty()) arguments.SetSslTargetNameOverride(server_name);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

std::chrono::system_clock::time_point DeadlineIn(absl::Duration timeout) {
  return absl::ToChronoTime(Clock::System().Now() + timeout);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      ErrorDetails(status));
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string message = status.error_message().substr(0, kPeerMessageBytesMax);
  for (char& c : message) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return WithDetails(absl::Status(static_cast<absl::StatusCode>(status.error_code()), message),
                     status.error_details());
}

v1::Chunk MakeChunk(uint64_t offset, absl::string_view data) {
  v1::Chunk chunk;
  chunk.set_offset(offset);
  chunk.set_data(data.data(), data.size());
  chunk.set_crc32c(Crc32c(data));
  return chunk;
}

absl::Status CheckChunkRange(uint64_t offset, uint64_t size, uint64_t expected_offset,
                             uint64_t bytes_total) {
  if (size == 0 || size > kChunkBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chunk must have 1 to ", kChunkBytesMax, " bytes"));
  }
  if (offset != expected_offset) {
    return absl::OutOfRangeError(
        absl::StrCat("chunk starts at ", offset, " where ", expected_offset, " was expected"));
  }
  if (expected_offset > bytes_total || size > bytes_total - expected_offset) {
    return absl::InvalidArgumentError("chunk goes beyond the announced size");
  }
  return absl::OkStatus();
}

absl::Status CheckChunk(const v1::Chunk& chunk, uint64_t expected_offset, uint64_t bytes_total) {
  CSL_RETURN_IF_ERROR(
      CheckChunkRange(chunk.offset(), chunk.data().size(), expected_offset, bytes_total));
  if (Crc32c(chunk.data()) != chunk.crc32c()) {
    return absl::InvalidArgumentError("chunk does not have its CRC-32C");
  }
  return absl::OkStatus();
}

}  // namespace consilium::wire
