// A server that collects the survivors' shares and rebuilds what opens the sum.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_REVEALING_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_REVEALING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/recover.h"
#include "privacy/secagg/server_record.h"
#include "privacy/secagg/unmask.h"

namespace consilium::secagg {

// The last phase. Errors: ServerSession. Thread-compatible.
class ServerRevealing {
 public:
  ServerRevealing(std::shared_ptr<const ServerRoster> roster, SharesBySite shares, SiteSet sharing,
                  SiteSet survivors, ConsentBook consents);

  const ServerRoster& roster() const { return *roster_; }
  const SiteSet& sharing() const { return sharing_; }
  const SiteSet& survivors() const { return survivors_; }
  const SharesBySite& shares() const { return shares_; }
  std::vector<Consent> Consents() const { return consents_.All(); }

  // A consent that comes after the threshold was reached is checked and kept.
  absl::Status OnConsent(const Consent& consent);
  absl::Status OnReveal(absl::string_view site, const RevealMessage& message);
  bool CanUnmask() const;
  absl::StatusOr<Unmasker> Unmask(std::vector<WrongShare>* wrong) const;

  void Fill(ServerRecord& record) const;

 private:
  struct Recovery {
    ShareRecovery shares;
    std::vector<WrongShare> wrong;
  };
  // The secret of `owner` of which `fits` is true, from what was revealed.
  absl::StatusOr<privacy::SecretBytes> Rebuild(size_t owner,
                                               absl::FunctionRef<bool(absl::string_view)> fits,
                                               Recovery& recovery) const;
  absl::Status AddSelfMask(size_t site, Recovery& recovery, MaskSum& masks) const;
  absl::Status AddPairMasks(size_t dropped, Recovery& recovery, MaskSum& masks) const;

  std::shared_ptr<const ServerRoster> roster_;
  SharesBySite shares_;
  SiteSet sharing_;
  SiteSet survivors_;
  ConsentBook consents_;
  std::vector<std::shared_ptr<const RevealMessage>> reveals_;  // by roster index
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_REVEALING_H_
