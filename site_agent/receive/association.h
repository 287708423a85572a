// DCMTK's associations, owned and with their faults as statuses.
//
// DCMTK reads what a stranger sends without bounds of its own: use these only in a process that may
// die (see apart.h).
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_ASSOCIATION_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_ASSOCIATION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "site_agent/receive/dicom_config.h"

class DcmTLSTransportLayer;
class OFCondition;
struct T_ASC_Association;
struct T_ASC_Network;

namespace consilium::agent {

// Largest that DCMTK handles: 45 times fewer turns than its default at our side.
inline constexpr long kPduBytesMax = 131072;
// Of silence, until an association is given up; of the handshakes before it is one.
inline constexpr absl::Duration kSilenceMax = absl::Seconds(60);
inline constexpr absl::Duration kHandshakeMax = absl::Seconds(20);

// Once per process, before any association: TCP_NODELAY (without it 500 slices take 45 times as
// long), no reverse look-up of hosts, DCMTK's logging off.
void PrepareNetwork();

// The storage SOP classes of DCMTK's table.
std::vector<const char*> StorageClasses();
// What is taken, the most wanted first: all that intake decodes, implicit little endian last.
std::vector<const char*> TransferSyntaxes();

// OK, or UNAVAILABLE with the words; DCMTK's text of a condition may hold what the peer wrote, so
// only its module and code are in the message.
absl::Status FromCondition(const OFCondition& condition, absl::string_view what);

// An association with its network and, with TLS, its transport layer. Destruction aborts what was
// not released.
class Association {
 public:
  // Takes over `socket`, on which a peer has connected. Not negotiated yet.
  static absl::StatusOr<Association> Receive(int socket, const DicomTlsFiles* tls);

  struct Proposal {
    const char* abstract_syntax;
    std::vector<const char*> transfer_syntaxes;
    enum class Role { kScu, kScp } role = Role::kScu;  // ours
  };
  // UNAVAILABLE: no connection. PERMISSION_DENIED: the peer rejects us, or is not who it should be.
  static absl::StatusOr<Association> Request(const DicomPeer& peer, const std::string& our_title,
                                             const DicomTlsFiles* tls,
                                             const std::vector<Proposal>& proposals);

  Association(Association&& other) noexcept;
  Association& operator=(Association&&) = delete;
  ~Association();

  T_ASC_Association* get() const { return association_; }
  // With TLS: PERMISSION_DENIED where `host` is a name and the peer's certificate has another.
  absl::Status CheckPeerName(const std::string& host) const;
  void Release();       // as requestor
  void Acknowledged();  // the peer released or aborted: nothing is left to say

 private:
  Association();
  std::unique_ptr<DcmTLSTransportLayer> tls_;
  T_ASC_Network* network_ = nullptr;
  T_ASC_Association* association_ = nullptr;
  bool open_ = false;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_ASSOCIATION_H_
