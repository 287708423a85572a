// A model file as a stream of chunks, one chunk in memory.
#ifndef CONSILIUM_COORDINATOR_SERVICE_MODEL_STREAM_H_
#define CONSILIUM_COORDINATOR_SERVICE_MODEL_STREAM_H_

#include <string>

#include "absl/status/statusor.h"
#include "consilium/v1/federation.pb.h"
#include "grpcpp/grpcpp.h"

namespace consilium::coordinator {

// Sends the file from `offset` on; returns the bytes sent. OUT_OF_RANGE: offset beyond the file.
// CANCELLED: the caller went.
absl::StatusOr<uint64_t> StreamFile(const std::string& path, uint64_t offset,
                                    grpc::ServerWriter<v1::Chunk>& writer);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_MODEL_STREAM_H_
