#include "site_agent/round/update_builder.h"

#include <cstdio>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/weights.h"

namespace consilium::agent {

absl::StatusOr<wire::TensorMap> UpdateDelta(std::vector<training::NamedArray> student,
                                            wire::TensorMap base) {
  if (LayoutOf(student) != base.layout) {
    return absl::InvalidArgumentError("the trained weights do not have the model's layout");
  }
  size_t at = 0;
  for (size_t i = 0; i < student.size(); ++i) {
    std::vector<float>& values = student[i].values;
    if (static_cast<int64_t>(values.size()) != base.layout.tensors[i].elements()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", i, " does not have the values of its shape"));
    }
    for (const float value : values) {
      base.values[at] = value - base.values[at];
      ++at;
    }
    std::vector<float>().swap(values);
  }
  if (const absl::Status finite = wire::CheckFinite(base); !finite.ok()) {
    return absl::InternalError(
        absl::StrCat("the training diverged, nothing is sent: ", finite.message()));
  }
  return base;
}

absl::StatusOr<UpdateOffer> SealUpdate(wire::TensorMap update, const wire::Metadata& metadata,
                                       const SealOptions& options) {
  const std::string plain = JoinPath(options.folder, "update.safetensors");
  const auto remove_plain = absl::MakeCleanup([&] { std::remove(plain.c_str()); });
  UpdateOffer offer;
  offer.layout_sha256 = privacy::Sha256Hex(update.layout.Canonical());
  CSL_RETURN_IF_ERROR(wire::WriteSafetensors(plain, update, metadata));
  update = wire::TensorMap();
  CSL_RETURN_IF_ERROR(privacy::SealFile(plain, options.sealed_path, options.recipient_public_key,
                                        options.context));
  CSL_ASSIGN_OR_RETURN(offer.bytes, FileBytes(options.sealed_path));
  CSL_ASSIGN_OR_RETURN(offer.sha256, privacy::Sha256HexOfFile(options.sealed_path));
  return offer;
}

}  // namespace consilium::agent
