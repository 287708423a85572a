// The calls of sites as witnesses of the audit log. FederationService admits the caller first.
//
// Thread-safe.
#ifndef CONSILIUM_COORDINATOR_SERVICE_WITNESS_CALLS_H_
#define CONSILIUM_COORDINATOR_SERVICE_WITNESS_CALLS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/federation.pb.h"
#include "coordinator/audit/audit_log.h"

namespace consilium::coordinator {

class WitnessCalls {
 public:
  // `log` must outlive it.
  explicit WitnessCalls(AuditLog& log) : log_(log) {}

  // The witness's part of Hello; `key_sha256` is of the certificate that the site showed.
  absl::Status Hello(const std::string& site, absl::string_view key_sha256,
                     const v1::HelloRequest& request, v1::HelloReply& reply);
  absl::Status GetCheckpoint(const v1::GetCheckpointRequest& request,
                             v1::GetCheckpointReply& reply) const;
  absl::Status SubmitCosignature(const std::string& site,
                                 const v1::SubmitCosignatureRequest& request);
  // For NextTaskReply.
  uint64_t checkpoint_size() const { return log_.offered_size(); }

 private:
  AuditLog& log_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_WITNESS_CALLS_H_
