// One streaming call whose messages are raw bytes, with a limit on idleness instead of a deadline: it
// may last as long as it moves.
//
// Order: Start, then Write and Read as the method has them, then Finish, whatever came before. Each
// waits for its operation; Begin/EndWrite let the caller prepare the next message meanwhile.
// Thread-compatible. The context must outlive it.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_BULK_STREAM_H_
#define CONSILIUM_SITE_AGENT_UPLINK_BULK_STREAM_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace consilium::agent {

class BulkStream {
 public:
  // `method`: "/package.Service/Method".
  BulkStream(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context,
             const std::string& method, absl::Duration idle);
  // Cancels what was not finished.
  ~BulkStream();
  BulkStream(const BulkStream&) = delete;
  BulkStream& operator=(const BulkStream&) = delete;

  // Each: false when the call is over; Finish says why.
  bool Start();
  void BeginWrite(const grpc::ByteBuffer& message);
  bool EndWrite();
  bool WritesDone();
  bool Read(grpc::ByteBuffer* message);

  // The call's status. DEADLINE_EXCEEDED: nothing moved for `idle`.
  absl::Status Finish();

 private:
  bool Wait();

  grpc::ClientContext* const context_;
  const absl::Duration idle_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  bool idled_ = false;
  bool finished_ = false;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_BULK_STREAM_H_
