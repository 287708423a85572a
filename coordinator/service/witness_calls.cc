#include "coordinator/service/witness_calls.h"

#include "absl/strings/str_cat.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kLineBytesMax = 1024;
constexpr size_t kWitnessedBytesMax = 16 * 1024;

absl::Status CheckBytes(absl::string_view field, size_t bytes, size_t bytes_max) {
  if (bytes <= bytes_max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": at most ", bytes_max, " bytes"));
}

}  // namespace

absl::Status WitnessCalls::Hello(const std::string& site, absl::string_view key_sha256,
                                 const v1::HelloRequest& request, v1::HelloReply& reply) {
  reply.set_log_vkey(log_.vkey());
  CSL_RETURN_IF_ERROR(CheckBytes("witness_vkey", request.witness_vkey().size(), kLineBytesMax));
  CSL_RETURN_IF_ERROR(CheckBytes("witnessed_checkpoint", request.witnessed_checkpoint().size(),
                                 kWitnessedBytesMax));
  return log_.OnHello(site, key_sha256, request.witness_vkey(), request.witnessed_checkpoint());
}

absl::Status WitnessCalls::GetCheckpoint(const v1::GetCheckpointRequest& request,
                                         v1::GetCheckpointReply& reply) const {
  CSL_ASSIGN_OR_RETURN(AuditLog::Offer offer, log_.OfferSince(request.old_size()));
  reply.set_checkpoint(std::move(offer.note));
  for (const privacy::Hash& hash : offer.consistency) {
    reply.add_consistency(std::string(privacy::HashBytes(hash)));
  }
  return absl::OkStatus();
}

absl::Status WitnessCalls::SubmitCosignature(const std::string& site,
                                             const v1::SubmitCosignatureRequest& request) {
  CSL_RETURN_IF_ERROR(CheckBytes("cosignature", request.cosignature().size(), kLineBytesMax));
  privacy::Checkpoint checkpoint;
  checkpoint.size = request.size();
  const absl::StatusOr<privacy::Hash> root = privacy::HashFromBytes(request.root());
  if (!root.ok()) return Annotate(root.status(), "root");
  checkpoint.root = *root;
  return log_.AcceptCosignature(site, checkpoint, request.cosignature());
}

}  // namespace consilium::coordinator
