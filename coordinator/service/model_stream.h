// A model as a stream of messages; readers of one model share what they hold of it.
#ifndef CONSILIUM_COORDINATOR_SERVICE_MODEL_STREAM_H_
#define CONSILIUM_COORDINATOR_SERVICE_MODEL_STREAM_H_

#include "absl/status/statusor.h"
#include "consilium/v1/federation.pb.h"
#include "coordinator/store/chunk_store.h"
#include "grpcpp/grpcpp.h"

namespace consilium::coordinator {

// Sends the model from `offset` on; returns the bytes sent. OUT_OF_RANGE: offset beyond the model.
// CANCELLED: the caller went. DATA_LOSS: a stored chunk is damaged.
absl::StatusOr<uint64_t> StreamModel(const ModelReader& model, uint64_t offset,
                                     grpc::ServerWriter<v1::Chunk>& writer);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_MODEL_STREAM_H_
