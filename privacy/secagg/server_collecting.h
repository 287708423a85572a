// A server that collects the sites' keys.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_COLLECTING_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_COLLECTING_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/server_record.h"
#include "privacy/secagg/server_sharing.h"

namespace consilium::secagg {

// Next: ServerSharing. Errors: ServerSession. Thread-compatible.
class ServerCollecting {
 public:
  static absl::StatusOr<ServerCollecting> Create(Job job, std::vector<std::string> invited);

  const Job& job() const { return job_; }
  // Refuses also a key, fingerprint or identity that another site announced before.
  absl::Status OnKeys(const KeyAnnouncement& announcement, PeerVerifier verify);
  absl::StatusOr<ServerSharing> Close() const;

  void Fill(ServerRecord& record) const;

 private:
  ServerCollecting(Job job, std::vector<std::string> invited)
      : job_(std::move(job)), invited_(std::move(invited)) {}

  Job job_;
  std::vector<std::string> invited_;  // ascending
  std::map<std::string, std::shared_ptr<const KeyAnnouncement>> announced_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_COLLECTING_H_
