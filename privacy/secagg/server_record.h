// All that a server's session knows, as plain values that can be stored.
#ifndef CONSILIUM_PRIVACY_SECAGG_SERVER_RECORD_H_
#define CONSILIUM_PRIVACY_SECAGG_SERVER_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "privacy/secagg/protocol.h"

namespace consilium::secagg {

enum class ServerPhase { kCollecting, kSharing, kDelivering, kConsenting, kRevealing };

// What one site has sent; null where it has not. Shared, so that a record is cheap to copy.
struct ServerMember {
  std::shared_ptr<const KeyAnnouncement> keys;  // never null
  std::shared_ptr<const ShareMessage> shares;
  std::shared_ptr<const Consent> consent;
  std::shared_ptr<const RevealMessage> reveal;
};

struct ServerRecord {
  ServerPhase phase = ServerPhase::kCollecting;
  Job job;
  std::vector<std::string> invited;   // ascending
  uint32_t threshold = 0;             // from kSharing on
  std::vector<ServerMember> members;  // ascending by site; the roster from kSharing on
  std::string sharing;                // SiteSet bytes, from kDelivering on
  std::string survivors;              // SiteSet bytes, from kConsenting on
};

// What every phase after the collection of keys refers to. Immutable.
struct ServerRoster {
  Params params;
  std::vector<std::string> invited;
  std::vector<std::shared_ptr<const KeyAnnouncement>> announcements;  // by roster index
  std::vector<Member> members;                                        // the roster
  std::string session_id;
};

using SharesBySite = std::vector<std::shared_ptr<const ShareMessage>>;  // by roster index

// The consents to one survivor set, by roster index; null where there is none yet.
struct ConsentBook {
  explicit ConsentBook(size_t sites) : by_site(sites) {}
  // Errors as ServerSession::OnConsent.
  absl::Status Add(const ServerRoster& roster, const SiteSet& survivors, const Consent& consent);
  size_t Count() const;
  std::vector<Consent> All() const;  // in the order of the sites

  std::vector<std::shared_ptr<const Consent>> by_site;
};

// Writes what all phases but the first have in common.
void FillRoster(const ServerRoster& roster, const SharesBySite& shares, ServerRecord& record);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SERVER_RECORD_H_
