#include "coordinator/service/model_stream.h"

#include <algorithm>

#include "consilium/v1/federation.grpc.pb.h"

#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {

absl::StatusOr<uint64_t> StreamFile(const std::string& path, uint64_t offset,
                                    grpc::ServerWriter<v1::Chunk>& writer) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  if (offset > bytes) return absl::OutOfRangeError("the offset is beyond the model");
  std::string piece;
  for (uint64_t at = offset; at < bytes; at += piece.size()) {
    piece.resize(std::min<uint64_t>(wire::kChunkBytesMax, bytes - at));
    CSL_RETURN_IF_ERROR(file.ReadAt(at, piece.data(), piece.size()));
    if (!writer.Write(wire::MakeChunk(at, piece))) return absl::CancelledError("the caller went");
  }
  return bytes - offset;
}

}  // namespace consilium::coordinator
