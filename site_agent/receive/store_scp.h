// The SCP's side of one association: C-ECHO and C-STORE into the quarantine.
//
// Privacy: nothing of what a sender wrote is in a message or a count.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_STORE_SCP_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_STORE_SCP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "site_agent/receive/association.h"
#include "site_agent/receive/dicom_config.h"
#include "site_agent/receive/quarantine.h"

struct T_DIMSE_C_StoreRQ;

namespace consilium::agent {

struct StoreCounts {
  int64_t stored = 0;
  int64_t refused = 0;
  uint64_t bytes = 0;
  // Of the last object that was refused; empty: none was.
  std::string why;
};

// Takes the data set of a C-STORE request that has just been read, and answers it: success,
// 0122H another SOP class than agreed, A700H no room, A900H the data set is of another object,
// C000H broken or hostile, 0110H our disk. Fails only when the association is of no use any more.
absl::Status AnswerStore(const Association& association, uint8_t context_id,
                         const T_DIMSE_C_StoreRQ& request, Quarantine& quarantine, int inbox,
                         StoreCounts& counts);

// The DICOM status that tells a sender of `status` (PS3.4 B.2.3), in C-STORE and in STOW-RS alike.
uint16_t StoreStatus(const absl::Status& status);

struct ServeOptions {
  std::string our_title;
  std::vector<DicomPeer> peers;        // at the host that has connected
  const DicomTlsFiles* tls = nullptr;  // null: plain
};

// Serves the peer on `socket` (which it takes over) until it releases, aborts or falls silent.
// PERMISSION_DENIED: rejected. UNAVAILABLE: no association, or it broke. `counts` is valid always.
absl::Status ServeAssociation(int socket, const ServeOptions& options, Quarantine& quarantine,
                              int inbox, StoreCounts& counts);

// Answers the peer on `socket` that there is no room for a further association.
void RefuseAssociation(int socket, const DicomTlsFiles* tls);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_STORE_SCP_H_
