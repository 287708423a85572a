// gRPC as this project uses it: TLS 1.3 only, bounded messages, statuses both ways.
#ifndef CONSILIUM_PROTO_WIRE_TRANSPORT_H_
#define CONSILIUM_PROTO_WIRE_TRANSPORT_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "consilium/v1/federation.pb.h"
#include "grpcpp/grpcpp.h"

namespace consilium::wire {

inline constexpr size_t kChunkBytesMax = 1024 * 1024;
// What our programs send at a time. Small enough that a slow line shows progress, large enough that
// nothing is won beyond it.
inline constexpr size_t kTransferPieceBytes = 256 * 1024;
// A chunk, its framing and room to spare. No message of ours is larger.
inline constexpr int kMessageBytesMax = 2 * 1024 * 1024;

// Makes every TLS 1.2 handshake of this process fail and leaves 1.3 alone: gRPC 1.51 has no setting
// for the version, but reads its 1.2 cipher list from the environment. Call it first in main(),
// before any thread and any gRPC call.
void RequireTls13();

struct TlsFiles {
  std::string ca_pem;           // who signs the peer's certificate
  std::string certificate_pem;  // our own; empty on a client that enrols
  std::string key_pem;
};

enum class PeerCertificate { kRequired, kNone };

// The certificate and key that a server shows, which may be replaced while it serves: connections made
// after Replace see the new ones, those that are open go on. The CA for its callers stays. Thread-safe.
class ServerIdentity {
 public:
  explicit ServerIdentity(TlsFiles files);
  ~ServerIdentity();
  // They must fit each other: gRPC would go on with the old ones, and only say so in its own log.
  void Replace(std::string certificate_pem, std::string key_pem);


 private:
  friend std::shared_ptr<grpc::ServerCredentials> ServerTls(ServerIdentity& identity,
                                                            PeerCertificate peer);
  struct Port;
  struct Numbered {
    int64_t number = 0;  // grows with each Replace
    TlsFiles files;
  };
  Numbered Get() const;

  mutable absl::Mutex mutex_;
  Numbered now_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Port>> ports_ ABSL_GUARDED_BY(mutex_);
};

// `identity` must outlive every server that uses them.
std::shared_ptr<grpc::ServerCredentials> ServerTls(ServerIdentity& identity, PeerCertificate peer);
// The same with a certificate that stays.
std::shared_ptr<grpc::ServerCredentials> ServerTls(const TlsFiles& files, PeerCertificate peer);

// A channel to `address` (host:port) whose server must present a certificate of our CA for
// `server_name`. Keepalive on; messages bounded. kOwn: a connection that no other channel of the
// process shares, so that bulk and control do not wait for each other.
enum class Connection { kShared, kOwn };
std::shared_ptr<grpc::Channel> ConnectTls(const std::string& address, const TlsFiles& files,
                                          const std::string& server_name,
                                          Connection connection = Connection::kShared);

// The point in time, as gRPC wants it, at which a call that may take `timeout` from now is given up.
std::chrono::system_clock::time_point DeadlineIn(absl::Duration timeout);

// Random and new at each start of an agent, with every call of it; see HelloRequest.incarnation.
inline constexpr const char* kIncarnationMetadata = "consilium-incarnation";

// With a wish to come back later (retry.h) in the status details.
grpc::Status ToGrpc(const absl::Status& status);
// Codes map one to one, and the wish comes along. Messages of a peer are foreign text: cut to 500 bytes and stripped of
// control characters.
absl::Status FromGrpc(const grpc::Status& status);

// A chunk of `data` that starts at `offset`.
v1::Chunk MakeChunk(uint64_t offset, absl::string_view data);
// INVALID_ARGUMENT: empty, larger than kChunkBytesMax, beyond `bytes_total`, or its CRC is wrong.
// OUT_OF_RANGE: does not start at `expected_offset`.
absl::Status CheckChunk(const v1::Chunk& chunk, uint64_t expected_offset, uint64_t bytes_total);
// The same of a chunk of `size` bytes at `offset`, less the CRC.
absl::Status CheckChunkRange(uint64_t offset, uint64_t size, uint64_t expected_offset,
                             uint64_t bytes_total);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_TRANSPORT_H_
