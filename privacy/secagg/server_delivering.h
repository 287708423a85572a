// A server that has passed the shares on and waits for masked updates.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_DELIVERING_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_DELIVERING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/server_consenting.h"
#include "privacy/secagg/server_record.h"

namespace consilium::secagg {

// Next: ServerConsenting. Errors: ServerSession. Immutable; the updates themselves are elsewhere.
class ServerDelivering {
 public:
  ServerDelivering(std::shared_ptr<const ServerRoster> roster, SharesBySite shares, SiteSet sharing)
      : roster_(std::move(roster)), shares_(std::move(shares)), sharing_(std::move(sharing)) {}

  const ServerRoster& roster() const { return *roster_; }
  const SiteSet& sharing() const { return sharing_; }
  const SharesBySite& shares() const { return shares_; }

  absl::Status CheckDelivery(absl::string_view site) const;
  absl::StatusOr<ServerConsenting> FixSurvivors(absl::Span<const std::string> delivered) const;

  void Fill(ServerRecord& record) const;

 private:
  std::shared_ptr<const ServerRoster> roster_;
  SharesBySite shares_;
  SiteSet sharing_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_DELIVERING_H_
