// A server that knows the roster and collects the boxes with shares.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_SHARING_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_SHARING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/server_delivering.h"
#include "privacy/secagg/server_record.h"

namespace consilium::secagg {

// Next: ServerDelivering. Errors: ServerSession. Thread-compatible.
class ServerSharing {
 public:
  explicit ServerSharing(std::shared_ptr<const ServerRoster> roster)
      : roster_(std::move(roster)), shares_(roster_->members.size()) {}

  const ServerRoster& roster() const { return *roster_; }
  absl::Status OnShares(absl::string_view site, const ShareMessage& message);
  absl::StatusOr<ServerDelivering> Close() const;

  void Fill(ServerRecord& record) const;

 private:
  std::shared_ptr<const ServerRoster> roster_;
  SharesBySite shares_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_SHARING_H_
