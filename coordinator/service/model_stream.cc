#include "coordinator/service/model_stream.h"

#include "consilium/v1/federation.grpc.pb.h"

#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {

absl::StatusOr<uint64_t> StreamModel(const ModelReader& model, uint64_t offset,
                                     grpc::ServerWriter<v1::Chunk>& writer) {
  if (offset > model.bytes()) return absl::OutOfRangeError("the offset is beyond the model");
  uint64_t at = offset;
  while (at < model.bytes()) {
    CSL_ASSIGN_OR_RETURN(const ChunkPtr chunk,
                         model.Chunk(static_cast<size_t>(at / kChunkFileBytes)));
    absl::string_view rest = chunk->view().substr(at % kChunkFileBytes);
    while (!rest.empty()) {
      const absl::string_view piece = rest.substr(0, wire::kChunkBytesMax);
      if (!writer.Write(wire::MakeChunk(at, piece))) {
        return absl::CancelledError("the caller went");
      }
      at += piece.size();
      rest.remove_prefix(piece.size());
    }
  }
  return model.bytes() - offset;
}

}  // namespace consilium::coordinator
