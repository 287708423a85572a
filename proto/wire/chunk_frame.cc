#include "proto/wire/chunk_frame.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::wire {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

// Numbers of federation.proto.
constexpr uint32_t kChunkOffset = 1, kChunkData = 2, kChunkCrc = 3;
constexpr uint32_t kUploadId = 1, kUploadChunk = 2;

absl::Status Malformed() { return absl::InvalidArgumentError("the message is not a chunk"); }

void PutVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void PutTag(uint32_t field, WireType type, std::string& out) { PutVarint(field << 3 | type, out); }

// Reads across the pieces. Every call checks that the bytes are there.
class Cursor {
 public:
  explicit Cursor(absl::Span<const absl::string_view> pieces) : pieces_(pieces) {
    for (const absl::string_view piece : pieces) left_ += piece.size();
  }
  uint64_t left() const { return left_; }

  absl::StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      CSL_ASSIGN_OR_RETURN(const uint8_t byte, Byte());
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return Malformed();
  }
  absl::StatusOr<uint32_t> Fixed32() {
    char bytes[4];
    for (char& c : bytes) {
      CSL_ASSIGN_OR_RETURN(const uint8_t byte, Byte());
      c = static_cast<char>(byte);
    }
    return LoadLe32(bytes);
  }
  // The next `size` bytes, in the pieces they lie in.
  absl::StatusOr<std::vector<absl::string_view>> Take(uint64_t size) {
    if (size > left_) return Malformed();
    std::vector<absl::string_view> taken;
    left_ -= size;
    while (size > 0) {
      SkipEmpty();
      const absl::string_view part =
          pieces_.front().substr(at_, static_cast<size_t>(std::min<uint64_t>(size, SIZE_MAX)));
      taken.push_back(part);
      at_ += part.size();
      size -= part.size();
    }
    return taken;
  }
  absl::Status Pass(uint32_t type) {
    uint64_t size = 0;
    if (type == kVarint) return Varint().status();
    if (type == kFixed64) {
      size = 8;
    } else if (type == kFixed32) {
      size = 4;
    } else if (type == kLength) {
      CSL_ASSIGN_OR_RETURN(size, Varint());
    } else {
      return Malformed();  // groups are not part of proto3
    }
    return Take(size).status();
  }

 private:
  absl::StatusOr<uint8_t> Byte() {
    if (left_ == 0) return Malformed();
    SkipEmpty();
    --left_;
    return static_cast<uint8_t>(pieces_.front()[at_++]);
  }
  void SkipEmpty() {
    while (at_ == pieces_.front().size()) {
      pieces_.remove_prefix(1);
      at_ = 0;
    }
  }

  absl::Span<const absl::string_view> pieces_;
  size_t at_ = 0;  // in the first piece
  uint64_t left_ = 0;
};

struct Tag {
  uint32_t field = 0;
  uint32_t type = 0;
};

absl::StatusOr<Tag> ReadTag(Cursor& cursor) {
  CSL_ASSIGN_OR_RETURN(const uint64_t tag, cursor.Varint());
  if (tag > UINT32_MAX || tag >> 3 == 0) return Malformed();
  return Tag{static_cast<uint32_t>(tag >> 3), static_cast<uint32_t>(tag & 7)};
}

absl::Status ReadChunk(Cursor& cursor, ChunkFrame& frame) {
  while (cursor.left() > 0) {
    CSL_ASSIGN_OR_RETURN(const Tag tag, ReadTag(cursor));
    if (tag.field == kChunkOffset && tag.type == kVarint) {
      CSL_ASSIGN_OR_RETURN(frame.offset, cursor.Varint());
    } else if (tag.field == kChunkCrc && tag.type == kFixed32) {
      CSL_ASSIGN_OR_RETURN(frame.crc32c, cursor.Fixed32());
    } else if (tag.field == kChunkData && tag.type == kLength) {
      CSL_ASSIGN_OR_RETURN(frame.bytes, cursor.Varint());
      CSL_ASSIGN_OR_RETURN(frame.data, cursor.Take(frame.bytes));
    } else {
      CSL_RETURN_IF_ERROR(cursor.Pass(tag.type));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string ChunkHeader(uint64_t offset, uint32_t crc32c, size_t size) {
  std::string header;
  PutTag(kChunkOffset, kVarint, header);
  PutVarint(offset, header);
  PutTag(kChunkCrc, kFixed32, header);
  char crc[4];
  StoreLe32(crc32c, crc);
  header.append(crc, sizeof(crc));
  PutTag(kChunkData, kLength, header);
  PutVarint(size, header);
  return header;
}

std::string UploadChunkHeader(absl::string_view upload_id, uint64_t offset, uint32_t crc32c,
                              size_t size) {
  const std::string chunk = ChunkHeader(offset, crc32c, size);
  std::string header;
  PutTag(kUploadId, kLength, header);
  PutVarint(upload_id.size(), header);
  header.append(upload_id.data(), upload_id.size());
  PutTag(kUploadChunk, kLength, header);
  PutVarint(chunk.size() + size, header);
  return header + chunk;
}

absl::StatusOr<ChunkFrame> ParseChunk(absl::Span<const absl::string_view> pieces) {
  Cursor cursor(pieces);
  ChunkFrame frame;
  CSL_RETURN_IF_ERROR(ReadChunk(cursor, frame));
  return frame;
}

absl::StatusOr<ChunkFrame> ParseUploadChunk(absl::Span<const absl::string_view> pieces) {
  Cursor cursor(pieces);
  ChunkFrame frame;
  while (cursor.left() > 0) {
    CSL_ASSIGN_OR_RETURN(const Tag tag, ReadTag(cursor));
    if (tag.field == kUploadId && tag.type == kLength) {
      CSL_ASSIGN_OR_RETURN(const uint64_t size, cursor.Varint());
      if (size > kUploadIdBytesMax) return absl::InvalidArgumentError("upload_id: too long");
      CSL_ASSIGN_OR_RETURN(const auto parts, cursor.Take(size));
      frame.upload_id.clear();
      for (const absl::string_view part : parts) frame.upload_id.append(part.data(), part.size());
    } else if (tag.field == kUploadChunk && tag.type == kLength) {
      CSL_ASSIGN_OR_RETURN(const uint64_t size, cursor.Varint());
      CSL_ASSIGN_OR_RETURN(const auto parts, cursor.Take(size));
      Cursor chunk(parts);
      CSL_RETURN_IF_ERROR(ReadChunk(chunk, frame));
    } else {
      CSL_RETURN_IF_ERROR(cursor.Pass(tag.type));
    }
  }
  return frame;
}

absl::Status CheckFrame(const ChunkFrame& frame, uint64_t expected_offset, uint64_t bytes_total) {
  CSL_RETURN_IF_ERROR(CheckChunkRange(frame.offset, frame.bytes, expected_offset, bytes_total));
  uint32_t crc = 0;
  for (const absl::string_view piece : frame.data) crc = ExtendCrc32c(crc, piece);
  if (crc != frame.crc32c) {
    return absl::InvalidArgumentError("chunk does not have its CRC-32C");
  }
  return absl::OkStatus();
}

}  // namespace consilium::wire
