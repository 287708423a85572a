// What a site's home holds for secure aggregation: the protocol key, the sessions, the consents.
//
// HOME/identity/protocol.key   0600, Ed25519 in PKCS#8 PEM, made at first use, never leaves
// HOME/secagg/                 sessions (session_store.h)
//            /consents/        what was agreed to (privacy/secagg/consent_ledger.h)
//
// The protocol key stays when the certificate is renewed; the new certificate's key signs it anew.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_MASKING_HOME_H_
#define CONSILIUM_SITE_AGENT_UPLINK_MASKING_HOME_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/secagg/consent_ledger.h"
#include "proto/base/clock.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/masking/session_store.h"

namespace consilium::agent {

// Immutable but for the files. Thread-safe.
class MaskingHome {
 public:
  // For an enrolled home whose agent runs. `clock` must outlive it. FAILED_PRECONDITION: the key's
  // file may be read by others. INVALID_ARGUMENT: it is no such key. DATA_LOSS: the consents are
  // damaged.
  static absl::StatusOr<std::unique_ptr<MaskingHome>> Open(const std::string& home,
                                                           const std::string& federation,
                                                           const std::string& site,
                                                           const Clock& clock);
  MaskingHome(const MaskingHome&) = delete;
  MaskingHome& operator=(const MaskingHome&) = delete;

  // The parts of this home, which it must outlive; the site's own rules and its log are the
  // caller's to add. The certificate is read from the home at each use, so that a renewed one
  // counts at once.
  MaskingSite Site() const;
  const SessionStore& sessions() const { return sessions_; }
  const std::string& public_key() const { return key_.public_key(); }

 private:
  MaskingHome(std::string home, std::string federation, std::string site, const Clock& clock,
              privacy::Ed25519Key key, SessionStore sessions,
              std::unique_ptr<secagg::ConsentLedger> consents);
  absl::StatusOr<CertificateInForce> Certificate() const;

  const std::string home_;
  const std::string federation_;
  const std::string site_;
  const Clock& clock_;
  const privacy::Ed25519Key key_;
  const SessionStore sessions_;
  const std::unique_ptr<secagg::ConsentLedger> consents_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_MASKING_HOME_H_
