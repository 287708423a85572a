#include "site_agent/round/update_seal.h"

#include <cstdio>

#include "absl/cleanup/cleanup.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {

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
