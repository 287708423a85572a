// STOW-RS (PS3.18 10.5): objects that a client stores over HTTP, into the quarantine.
//
// Privacy: nothing of what a client wrote is in a log or a count; the answer to it holds the UIDs
// of its own objects.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_STOW_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_STOW_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "site_agent/dicomweb/web_server.h"
#include "site_agent/receive/quarantine.h"
#include "site_agent/receive/store_scp.h"

namespace consilium::agent {

// Who a request has come from, besides the host's address.
struct StowClient {
  bool has_certificate = false;  // one of tls.ca, which names the host where that is configured
  std::string token;             // that makes up for a certificate; empty: none does
};

// Answers the requests of one connection: POST to /studies and to /studies/STUDY.
//
//   200  all were stored                        401  neither a certificate nor the token
//   202  some were                              404  another path
//   400  not multipart, or it broke off         405  another method than POST
//   409  none was stored                        406  an answer other than DICOM JSON is wanted
//   413  more than the quarantine may ever hold 415  not application/dicom, or encoded
//   503  none was stored for want of space, or `busy`
//
// With 200, 202, 409 and 503 for space comes the Store Instances Response Module (PS3.18 I). What
// a request has stored before it broke off stays, as with C-STORE.
class StowHandler final : public dicomweb::WebHandler {
 public:
  enum class Load { kReady, kBusy };
  // `quarantine` must outlive it.
  StowHandler(StowClient client, Quarantine& quarantine, int inbox, Load load);

  std::optional<dicomweb::WebResponse> Refuse(const dicomweb::WebRequest& request) override;
  dicomweb::WebResponse Post(const dicomweb::WebRequest& request, const ReadBody& body) override;

  const StoreCounts& counts() const { return counts_; }

 private:
  const StowClient client_;
  Quarantine& quarantine_;
  const int inbox_;
  const Load load_;
  StoreCounts counts_;
};

struct StowOptions {
  const DicomTlsFiles& tls;
  std::string token_file;        // empty: every client needs a certificate
  std::vector<DicomPeer> peers;  // at the host that has connected
};

// Serves the client on `socket` (which it takes over) until it goes or falls silent.
// PERMISSION_DENIED: its certificate. UNAVAILABLE: no TLS. Others: our own files do not read.
// `counts` is valid always.
absl::Status ServeStow(int socket, const StowOptions& options, Quarantine& quarantine, int inbox,
                       StowHandler::Load load, StoreCounts& counts);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_STOW_H_
