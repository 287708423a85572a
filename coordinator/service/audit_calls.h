// The calls of administrators about the audit log. AdminService admits the caller first.
//
// Thread-safe.
#ifndef CONSILIUM_COORDINATOR_SERVICE_AUDIT_CALLS_H_
#define CONSILIUM_COORDINATOR_SERVICE_AUDIT_CALLS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "consilium/v1/admin.pb.h"
#include "coordinator/audit/audit_log.h"
#include "coordinator/store/store.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

class AuditCalls {
 public:
  // All must outlive it.
  AuditCalls(AuditLog& log, Store& store, const Clock& clock)
      : log_(log), store_(store), clock_(clock) {}

  absl::Status Search(const v1::SearchAuditRequest& request, v1::SearchAuditReply& reply) const;
  absl::Status Checkpoint(v1::GetAuditCheckpointReply& reply) const;
  absl::Status Prove(const v1::ProveAuditRequest& request, v1::ProveAuditReply& reply) const;
  // `write` takes pieces of at most 1 MiB; false: the caller went. The export is an entry itself.
  absl::Status Export(const std::string& admin, const v1::ExportAuditRequest& request,
                      const std::function<bool(const v1::ExportAuditPiece&)>& write) const;
  // INVALID_ARGUMENT: the caller's own name, or a reason that holds the name.
  absl::Status Erase(const std::string& admin, const v1::EraseAuditNameRequest& request,
                     v1::EraseAuditNameReply& reply) const;

 private:
  AuditLog& log_;
  Store& store_;
  const Clock& clock_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_AUDIT_CALLS_H_
