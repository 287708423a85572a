// Joining a federation, and the identity that a site has from then on.
//
// HOME/identity/site.key  0600, made here, never leaves
//              /site.crt  issued for it
//              /ca.crt    who signs the coordinator's certificate and ours
//              /next.key  0600, of a renewal that has not ended
//              /lock      held while the identity is changed
//
// A renewal writes next.key, then site.crt for it, then renames next.key to site.key; each step is atomic
// and durable. Whichever of the two keys site.crt is for is the site's, so the identity is whole after
// a kill at any point.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_ENROL_H_
#define CONSILIUM_SITE_AGENT_UPLINK_ENROL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/crypto/secret_bytes.h"
#include "site_agent/uplink/invitation.h"

namespace consilium::agent {

struct SiteIdentity {
  privacy::SecretBytes key_pem;
  std::string certificate_pem;
  std::string ca_pem;
};

// NOT_FOUND: not enrolled. FAILED_PRECONDITION: the key's file may be read by others. DATA_LOSS: no key
// there is the certificate's.
absl::StatusOr<SiteIdentity> ReadIdentity(const std::string& home);

// The key for a renewal and its request, made or, after an attempt that did not end, taken up again.
struct KeyRequest {
  privacy::SecretBytes key_pem;
  std::string csr_pem;
};
absl::StatusOr<KeyRequest> PrepareRenewal(const std::string& home);
// Puts a certificate for the prepared key in the place of the one there is. INVALID_ARGUMENT,
// PERMISSION_DENIED, FAILED_PRECONDITION: it is not for that key or this site, not of our CA, not valid
// at `now`; nothing has changed then.
absl::Status FinishRenewal(const std::string& home, const std::string& certificate_pem,
                           absl::Time now);

struct EnrolOptions {
  std::string home;
  std::string software_version;
  absl::Time now;
  absl::Duration timeout = absl::Seconds(30);
};

// Makes a key and a request for it, trades token and request for a certificate over TLS to the
// server that the invitation's CA vouches for, checks that the certificate is for this key, site
// and federation, and writes identity and agent.yaml. A failed attempt can be repeated: the key
// stays the same. A home that has an identity of this site gets a new certificate for its key, put
// in place of the old one atomically, and keeps its agent.yaml; an agent that runs takes it up within a
// minute. ALREADY_EXISTS: the home's identity is of another site or federation, or of
// one with another CA. PERMISSION_DENIED: token refused.
absl::Status Enrol(const Invitation& invitation, const EnrolOptions& options);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_ENROL_H_
