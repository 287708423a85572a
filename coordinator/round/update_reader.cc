#include "coordinator/round/update_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregation/weighted_mean.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/status.h"

namespace consilium::coordinator {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

namespace {

constexpr int64_t kCheckedAtOnce = privacy::kSealedPieceBytes / sizeof(float);

}  // namespace

absl::StatusOr<UpdateReader> UpdateReader::Open(const std::string& path,
                                                const privacy::HpkeKeyPair& key,
                                                const privacy::SealContext& context) {
  CSL_ASSIGN_OR_RETURN(privacy::SealedReader sealed,
                       privacy::SealedReader::Open(path, key, context));
  std::string prefix, piece;
  for (uint64_t at = 0; at < sealed.pieces(); ++at) {
    if (prefix.size() > wire::kSafetensorsHeaderBytesMax + sizeof(uint64_t)) break;
    CSL_RETURN_IF_ERROR(sealed.Read(at, piece));
    prefix += piece;
    absl::StatusOr<wire::SafetensorsHeader> header =
        wire::DecodeSafetensorsHeader(prefix, sealed.plaintext_bytes());
    if (header.ok()) return UpdateReader(std::move(sealed), *std::move(header));
    if (!absl::IsOutOfRange(header.status())) return header.status();
  }
  return absl::InvalidArgumentError("the update has no whole header");
}

absl::Status UpdateReader::Read(int64_t offset, absl::Span<float> values) const {
  if (offset < 0 || offset > parameters() ||
      static_cast<int64_t>(values.size()) > parameters() - offset) {
    return absl::OutOfRangeError("the block lies beyond the update's values");
  }
  // The header was checked against the file's length, so the bytes are there.
  char* out = reinterpret_cast<char*>(values.data());
  size_t left = values.size() * sizeof(float);
  uint64_t at = header_.data_offset + static_cast<uint64_t>(offset) * sizeof(float);
  std::string piece;
  while (left > 0) {
    CSL_RETURN_IF_ERROR(sealed_.Read(at / privacy::kSealedPieceBytes, piece));
    const size_t within = at % privacy::kSealedPieceBytes;
    const size_t size = std::min(left, piece.size() - within);
    std::memcpy(out, piece.data() + within, size);
    out += size;
    at += size;
    left -= size;
  }
  return absl::OkStatus();
}

int64_t UpdateReader::BlockEnd(int64_t begin, int64_t end) const {
  const uint64_t byte = header_.data_offset + static_cast<uint64_t>(end) * sizeof(float);
  const uint64_t piece_end = byte / privacy::kSealedPieceBytes * privacy::kSealedPieceBytes;
  if (end >= parameters() || piece_end <= header_.data_offset) return end;
  const auto best = static_cast<int64_t>((piece_end - header_.data_offset) / sizeof(float));
  return best > begin ? best : end;
}

std::string LayoutSha256(const wire::TensorLayout& layout) {
  return privacy::Sha256Hex(layout.Canonical());
}

absl::Status CheckUpdate(const std::string& path, const privacy::HpkeKeyPair& key,
                         const privacy::SealContext& context,
                         const UpdateExpectation& expectation) {
  CSL_ASSIGN_OR_RETURN(UpdateReader reader, UpdateReader::Open(path, key, context));
  if (LayoutSha256(reader.header().layout) != expectation.layout_sha256) {
    return absl::InvalidArgumentError("the update's tensors are not those of the model");
  }
  std::vector<float> values;
  for (int64_t at = 0; at < reader.parameters(); at += static_cast<int64_t>(values.size())) {
    const int64_t end = std::min(at + kCheckedAtOnce, reader.parameters());
    values.resize(static_cast<size_t>(reader.BlockEnd(at, end) - at));
    CSL_RETURN_IF_ERROR(reader.Read(at, absl::MakeSpan(values)));
    CSL_RETURN_IF_ERROR(aggregation::CheckUpdateValues(values));
  }
  return absl::OkStatus();
}

}  // namespace consilium::coordinator
