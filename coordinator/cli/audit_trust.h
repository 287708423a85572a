// What this administrator trusts of the audit log, kept beside the credentials: the policy (keys of the log
// and its witnesses, and how many must sign) as first seen, and the last checkpoint that was verified.
//
// With them a coordinator can neither exchange keys nor shorten or rewrite its log unseen: a change of the
// policy is shown and needs a yes; each verification has to continue the kept checkpoint.
// Thread-compatible. Files: audit.policy, audit.checkpoint in the credentials' folder.
#ifndef CONSILIUM_COORDINATOR_CLI_AUDIT_TRUST_H_
#define CONSILIUM_COORDINATOR_CLI_AUDIT_TRUST_H_

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/audit/report.h"
#include "privacy/transparency/policy.h"

namespace consilium::coordinator {

enum class PolicyChange { kRefuse, kAccept };

class AuditTrust {
 public:
  // Pins `offered` when nothing is pinned yet, or with kAccept; says on `err` what it did.
  // ABORTED: the coordinator offers another policy than the pinned one; the difference is on
  // `err`. INVALID_ARGUMENT: a policy that does not read.
  static absl::StatusOr<AuditTrust> Load(const std::string& folder, const std::string& offered,
                                         PolicyChange change, std::ostream& err);

  const privacy::Policy& policy() const { return policy_; }
  const std::string& held() const { return held_; }  // the kept checkpoint; "": none yet

  // Keeps the checkpoint of a verification that held, unless a longer one is kept.
  absl::Status Keep(const AuditReport& report) const;

 private:
  AuditTrust(std::string folder, privacy::Policy policy, std::string held)
      : folder_(std::move(folder)), policy_(std::move(policy)), held_(std::move(held)) {}
  std::string folder_;
  privacy::Policy policy_;
  std::string held_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_AUDIT_TRUST_H_
