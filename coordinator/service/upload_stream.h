// UploadChunks: a stream of messages into an upload's file, without a thread for each stream and
// without a copy of the payload between gRPC's buffers and the file.
#ifndef CONSILIUM_COORDINATOR_SERVICE_UPLOAD_STREAM_H_
#define CONSILIUM_COORDINATOR_SERVICE_UPLOAD_STREAM_H_

#include "coordinator/round/federation_driver.h"
#include "coordinator/service/site_call.h"
#include "grpcpp/grpcpp.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

// What the transfers of a server share. All must outlive the server.
struct TransferParts {
  FederationDriver& driver;
  SiteRegistry& sites;
  AccessGate& gate;
  ThreadPool& workers;  // disk and digests, off gRPC's threads
};

// Starts one; it owns itself and goes with the call. At most two messages are in memory: one being
// written, one that arrives meanwhile.
grpc::ServerReadReactor<grpc::ByteBuffer>* ReceiveUpload(const TransferParts& parts,
                                                         grpc::CallbackServerContext* context,
                                                         grpc::ByteBuffer* reply);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_UPLOAD_STREAM_H_
