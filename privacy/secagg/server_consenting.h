// A server that has fixed the survivors and collects their consent.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_CONSENTING_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_CONSENTING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/server_record.h"
#include "privacy/secagg/server_revealing.h"

namespace consilium::secagg {

// Next: ServerRevealing. Errors: ServerSession. Thread-compatible.
class ServerConsenting {
 public:
  ServerConsenting(std::shared_ptr<const ServerRoster> roster, SharesBySite shares, SiteSet sharing,
                   SiteSet survivors);

  const ServerRoster& roster() const { return *roster_; }
  const SiteSet& sharing() const { return sharing_; }
  const SiteSet& survivors() const { return survivors_; }
  const SharesBySite& shares() const { return shares_; }

  absl::Status OnConsent(const Consent& consent);
  bool HasConsents() const { return consents_.Count() >= roster_->params.threshold; }
  std::vector<Consent> Consents() const { return consents_.All(); }
  // FAILED_PRECONDITION: not before HasConsents.
  absl::StatusOr<ServerRevealing> Close() const;

  void Fill(ServerRecord& record) const;

 private:
  std::shared_ptr<const ServerRoster> roster_;
  SharesBySite shares_;
  SiteSet sharing_;
  SiteSet survivors_;
  ConsentBook consents_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_CONSENTING_H_
