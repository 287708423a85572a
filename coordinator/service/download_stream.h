// DownloadModel: a model's chunks as messages, without a thread for each stream and without a copy of
// the payload: the messages refer to the chunks that the chunk store's readers share.
#ifndef CONSILIUM_COORDINATOR_SERVICE_DOWNLOAD_STREAM_H_
#define CONSILIUM_COORDINATOR_SERVICE_DOWNLOAD_STREAM_H_

#include "coordinator/service/upload_stream.h"
#include "grpcpp/grpcpp.h"

namespace consilium::coordinator {

// Starts one; it owns itself and goes with the call.
grpc::ServerWriteReactor<grpc::ByteBuffer>* SendModel(const TransferParts& parts,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer& request);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_DOWNLOAD_STREAM_H_
