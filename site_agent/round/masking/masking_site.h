// What a site brings to secure aggregation, for as long as the agent lives.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKING_SITE_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKING_SITE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/secagg/consent_ledger.h"
#include "privacy/secagg/protocol.h"
#include "proto/base/clock.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/masking/session_store.h"
#include "site_agent/round/site_log.h"

namespace consilium::agent {

// The site's certificate of the moment, and its key's word for the protocol key.
struct CertificateInForce {
  std::string certificate_pem;
  std::string protocol_key_signature;
  std::string ca_pem;  // the pinned root, that peers' certificates must chain to
};

// Everything referred to must outlive it, and the tasks that use it. (With initialisers, so that
// g++ lets a caller name a few.)
struct MaskingSite {
  std::string federation = {};
  std::string site = {};
  const SessionStore& sessions;
  secagg::ConsentLedger& consents;
  const privacy::Ed25519Key& key;  // the protocol key
  std::function<absl::StatusOr<CertificateInForce>()>
      certificate;  // asked at each use; thread-safe
  const Clock& clock;
  // The site's own rules, that no plan can lower: the fewest sites of a sum, and whose company is
  // refused (an error says why, in words that may travel). Empty: nobody's.
  uint32_t cohort_floor = secagg::kSitesMin;
  std::function<absl::Status(const secagg::KeyAnnouncement&)> accept_peer = {};
  EventRecorder record = {};  // the site's own log; may be empty
  int threads = 1;            // that quantise and mask
};

// A refusal of what the coordinator wants: recorded in the site's own log under "secagg.refuse",
// and FAILED_PRECONDITION with `why`'s message as the reason that declines the task.
absl::Status RefuseMasking(const MaskingSite& site, const SiteTask& task, const absl::Status& why);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKING_SITE_H_
