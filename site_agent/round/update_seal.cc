#include "site_agent/round/update_seal.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

// The safetensors file that `header` and `values` would be, read from memory.
void CopyFileBytes(const std::string& header, const std::vector<float>& values, uint64_t offset,
                   char* out, size_t size) {
  if (offset < header.size()) {
    const size_t part = std::min<size_t>(size, header.size() - offset);
    std::memcpy(out, header.data() + offset, part);
    out += part;
    offset += part;
    size -= part;
  }
  if (size > 0) {
    std::memcpy(out, reinterpret_cast<const char*>(values.data()) + (offset - header.size()), size);
  }
}

}  // namespace

size_t ModelTensors(const wire::TensorLayout& update) {
  const size_t half = update.tensors.size() / 2;
  if (half == 0 || update.tensors.size() % 2 != 0) return update.tensors.size();
  for (size_t i = 0; i < half; ++i) {
    const wire::TensorSpec& tensor = update.tensors[i];
    const wire::TensorSpec& control = update.tensors[half + i];
    if (control.name != absl::StrCat(kControlPrefix, tensor.name) ||
        control.shape != tensor.shape) {
      return update.tensors.size();
    }
  }
  return half;
}

int64_t ModelParameters(const wire::TensorLayout& update) {
  int64_t parameters = 0;
  for (size_t i = 0; i < ModelTensors(update); ++i) parameters += update.tensors[i].elements();
  return parameters;
}

std::string ModelLayoutSha256(const wire::TensorLayout& update) {
  wire::TensorLayout model;
  model.tensors.assign(update.tensors.begin(),
                       update.tensors.begin() + static_cast<ptrdiff_t>(ModelTensors(update)));
  return privacy::Sha256Hex(model.Canonical());
}

absl::StatusOr<UpdateOffer> SealUpdate(wire::TensorMap update, const wire::Metadata& metadata,
                                       const SealOptions& options) {
  UpdateOffer offer;
  offer.layout_sha256 = ModelLayoutSha256(update.layout);
  const std::string header = wire::EncodeSafetensorsHeader(update.layout, metadata);
  CSL_ASSIGN_OR_RETURN(
      offer.sha256,
      privacy::SealBytes(
          [&](uint64_t offset, char* out, size_t size) {
            CopyFileBytes(header, update.values, offset, out, size);
            return absl::OkStatus();
          },
          header.size() + update.values.size() * sizeof(float), options.sealed_path,
          options.recipient_public_key, options.context));
  CSL_ASSIGN_OR_RETURN(offer.bytes, FileBytes(options.sealed_path));
  return offer;
}

}  // namespace consilium::agent
