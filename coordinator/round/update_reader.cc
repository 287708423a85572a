#include "coordinator/round/update_reader.h"

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

absl::StatusOr<UpdateReader> UpdateReader::Open(const std::string& path,
                                                const privacy::HpkeKeyPair& key,
                                                const privacy::SealContext& context) {
  CSL_ASSIGN_OR_RETURN(privacy::SealedReader sealed,
                       privacy::SealedReader::Open(path, key, context));
  std::string prefix;
  while (true) {
    if (sealed.done() || prefix.size() > wire::kSafetensorsHeaderBytesMax + sizeof(uint64_t)) {
      return absl::InvalidArgumentError("the update has no whole header");
    }
    CSL_ASSIGN_OR_RETURN(const std::string piece, sealed.Next());
    prefix += piece;
    absl::StatusOr<wire::SafetensorsHeader> header =
        wire::DecodeSafetensorsHeader(prefix, sealed.plaintext_bytes());
    if (header.ok()) {
      std::string rest = prefix.substr(header->data_offset);
      return UpdateReader(std::move(sealed), *std::move(header), std::move(rest));
    }
    if (!absl::IsOutOfRange(header.status())) return header.status();
  }
}

absl::Status UpdateReader::ForEachBlock(const Visit& visit) {
  std::vector<float> values;
  int64_t offset = 0;
  std::string bytes = std::move(rest_);
  while (true) {
    // Data starts at a multiple of 8 and pieces are 1 MiB, so only a file that breaks the format
    // ends a piece inside a value.
    if (bytes.size() % sizeof(float) != 0) {
      return absl::InvalidArgumentError("the update's data is not aligned");
    }
    values.resize(bytes.size() / sizeof(float));
    if (!values.empty()) {
      std::memcpy(values.data(), bytes.data(), bytes.size());
      CSL_RETURN_IF_ERROR(visit(offset, values));
      offset += static_cast<int64_t>(values.size());
    }
    if (sealed_.done()) break;
    CSL_ASSIGN_OR_RETURN(bytes, sealed_.Next());
  }
  if (offset != header_.layout.parameters()) {
    return absl::InvalidArgumentError("the update's data ends early");
  }
  return absl::OkStatus();
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
  return reader.ForEachBlock([](int64_t, absl::Span<const float> values) {
    return aggregation::CheckUpdateValues(values);
  });
}

}  // namespace consilium::coordinator
