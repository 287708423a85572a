// From an update in memory to the sealed file that may leave the site.
#ifndef CONSILIUM_SITE_AGENT_ROUND_UPDATE_SEAL_H_
#define CONSILIUM_SITE_AGENT_ROUND_UPDATE_SEAL_H_

#include <string>

#include "absl/status/statusor.h"
#include "privacy/crypto/sealed_update.h"
#include "proto/wire/safetensors.h"
#include "proto/wire/tensor_map.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

// An update of SCAFFOLD carries behind the model's tensors the same tensors again, named so: the
// change of the site's control variate. The coordinator's word for it is in
// coordinator/round/update_reader.h.
inline constexpr const char* kControlPrefix = "control.";
// How many of the tensors are the model's own: all, or those before the control variate.
size_t ModelTensors(const wire::TensorLayout& update);
// Parameters in them, and the SHA-256 of their layout, which an offer names.
int64_t ModelParameters(const wire::TensorLayout& update);
std::string ModelLayoutSha256(const wire::TensorLayout& update);

struct SealOptions {
  std::string sealed_path;  // in the spool; its folder is there
  std::string recipient_public_key;
  privacy::SealContext context;
};

// Seals `update` as a safetensors file that never lies on the disk in the clear. Fills bytes, digest
// and layout of the offer.
absl::StatusOr<UpdateOffer> SealUpdate(wire::TensorMap update, const wire::Metadata& metadata,
                                       const SealOptions& options);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_UPDATE_SEAL_H_
