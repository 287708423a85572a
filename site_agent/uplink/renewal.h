// Keeps the site's certificate from ending while the agent runs: renews it with a new key when a third of
// its lifetime is left (earlier by a share of chance, so that sites do not all come at once), tries again
// with growing pauses, and hands whatever identity the home then has to the client. Work goes on
// meanwhile.
//
// Order: construct; Look now and then, or Run on a thread of its own. Thread-compatible.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_RENEWAL_H_
#define CONSILIUM_SITE_AGENT_UPLINK_RENEWAL_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/expiry.h"
#include "proto/base/clock.h"
#include "site_agent/round/site_log.h"
#include "site_agent/uplink/backoff.h"
#include "site_agent/uplink/enrol.h"

namespace consilium::agent {

inline constexpr absl::Duration kRenewalLookEvery = absl::Minutes(1);
inline constexpr int kRenewalPart = 3;    // of the lifetime, that is left when it is renewed
inline constexpr int kRenewalJitter = 12;  // of the lifetime, at most so much earlier

class Renewal {
 public:
  struct Parts {
    // Trades a request for a certificate (FederationClient::RenewCertificate).
    std::function<absl::StatusOr<std::string>(const std::string& csr_pem)> ask;
    // The identity to use from now on (FederationClient::UseIdentity).
    std::function<void(const SiteIdentity&)> use;
    EventRecorder record;             // the site's own log; may be empty
    std::function<double()> uniform;  // draws from [0, 1)
  };
  // `in_use` is the identity that the client began with. `clock` must outlive it.
  Renewal(std::string home, const SiteIdentity& in_use, Parts parts, const Clock& clock);

  // Takes up an identity that somebody else put there, renews if it is time, warns of an end. What fails
  // is logged and tried again.
  void Look();
  // Looks until `wait` says false.
  void Run(const std::function<bool(absl::Duration)>& wait);

 private:
  absl::Status TakeUp();
  absl::Status RenewIfDue();
  absl::StatusOr<absl::Time> DueAt() const;
  void WarnOfEnd();

  const std::string home_;
  const Parts parts_;
  const Clock& clock_;
  const Backoff backoff_;
  std::string certificate_pem_;  // in use
  double jitter_;                // of the certificate in use
  int failures_ = 0;
  absl::Duration not_before_ = -absl::InfiniteDuration();  // monotonic: of the next attempt
  privacy::ExpiryWatch ends_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_RENEWAL_H_
