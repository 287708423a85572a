// The messages Chunk and UploadChunk (federation.proto) without a copy of their payload: a header in
// front of bytes that stay where they are, and a view of what arrived in pieces.
//
// Protobuf's encoding: https://protobuf.dev/programming-guides/encoding/. What is written here any
// protobuf parser reads, and the other way round; fields may come in any order, unknown ones are
// passed over, of a repeated one the last counts. Thread-safe.
#ifndef CONSILIUM_PROTO_WIRE_CHUNK_FRAME_H_
#define CONSILIUM_PROTO_WIRE_CHUNK_FRAME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium::wire {

inline constexpr size_t kUploadIdBytesMax = 256;

// What goes before `size` bytes of payload. The two together are the message.
std::string ChunkHeader(uint64_t offset, uint32_t crc32c, size_t size);
std::string UploadChunkHeader(absl::string_view upload_id, uint64_t offset, uint32_t crc32c,
                              size_t size);

struct ChunkFrame {
  std::string upload_id;  // of an UploadChunk
  uint64_t offset = 0;
  uint32_t crc32c = 0;
  uint64_t bytes = 0;                    // of the payload
  std::vector<absl::string_view> data;  // the payload, in pieces of the message
};

// `pieces` hold the message, one after the other, and must outlive the frame. INVALID_ARGUMENT: not
// this message.
absl::StatusOr<ChunkFrame> ParseChunk(absl::Span<const absl::string_view> pieces);
absl::StatusOr<ChunkFrame> ParseUploadChunk(absl::Span<const absl::string_view> pieces);

// As CheckChunk of transport.h.
absl::Status CheckFrame(const ChunkFrame& frame, uint64_t expected_offset, uint64_t bytes_total);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_CHUNK_FRAME_H_
