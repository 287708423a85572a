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

// A site scales its update down in float; its norm may be that much above the bound.
constexpr double kNormSlack = 1 + 1e-4;
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
  return ReadSealed(sealed_,
                    header_.data_offset + static_cast<uint64_t>(offset) * sizeof(float),
                    reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
}

absl::Status ReadSealed(const privacy::SealedReader& sealed, uint64_t at, char* out, size_t size) {
  std::string piece;
  while (size > 0) {
    CSL_RETURN_IF_ERROR(sealed.Read(at / privacy::kSealedPieceBytes, piece));
    const size_t within = at % privacy::kSealedPieceBytes;
    const size_t part = std::min(size, piece.size() - within);
    std::memcpy(out, piece.data() + within, part);
    out += part;
    at += part;
    size -= part;
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

namespace {

// The layout of the model alone, of an update that carries its control variate behind it.
absl::StatusOr<wire::TensorLayout> WithoutControl(const wire::TensorLayout& layout) {
  const size_t half = layout.tensors.size() / 2;
  wire::TensorLayout model;
  model.tensors.assign(layout.tensors.begin(),
                       layout.tensors.begin() + static_cast<ptrdiff_t>(half));
  wire::TensorLayout expected = model;
  for (const wire::TensorSpec& tensor : model.tensors) {
    expected.tensors.push_back({absl::StrCat(kControlPrefix, tensor.name), tensor.shape});
  }
  if (!(expected == layout)) {
    return absl::InvalidArgumentError(
        "the update does not carry its control variate behind the weights");
  }
  return model;
}

}  // namespace

absl::StatusOr<aggregation::UpdateFacts> CheckUpdate(const std::string& path,
                                                     const privacy::HpkeKeyPair& key,
                                                     const privacy::SealContext& context,
                                                     const UpdateExpectation& expectation) {
  CSL_ASSIGN_OR_RETURN(UpdateReader reader, UpdateReader::Open(path, key, context));
  wire::TensorLayout layout = reader.header().layout;
  if (expectation.with_control) {
    CSL_ASSIGN_OR_RETURN(layout, WithoutControl(layout));
  }
  if (LayoutSha256(layout) != expectation.layout_sha256) {
    return absl::InvalidArgumentError("the update's tensors are not those of the model");
  }
  aggregation::UpdateLimits limits;
  limits.parameters = reader.parameters();
  // The bound is of the weights' change; a control variate is a gradient and has its own size.
  if (expectation.norm_max > 0 && !expectation.with_control) {
    limits.norm_max = expectation.norm_max * kNormSlack;
  }
  aggregation::UpdateCheck check(limits);
  std::vector<float> values;
  for (int64_t at = 0; at < reader.parameters(); at += static_cast<int64_t>(values.size())) {
    const int64_t end = std::min(at + kCheckedAtOnce, reader.parameters());
    values.resize(static_cast<size_t>(reader.BlockEnd(at, end) - at));
    CSL_RETURN_IF_ERROR(reader.Read(at, absl::MakeSpan(values)));
    CSL_RETURN_IF_ERROR(check.Add(values));
  }
  return check.Finish();
}

}  // namespace consilium::coordinator
