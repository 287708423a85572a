// Answers the HTTP/1.1 requests of one TLS connection. The body of a request goes on as it comes.
//
// It reads a stranger's bytes with a library: use it in a process that may die.
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_WEB_SERVER_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_WEB_SERVER_H_

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/crypto/tls_server.h"

namespace consilium::dicomweb {

// Request line and header fields together.
inline constexpr size_t kHeadBytesMax = 64 * 1024;

struct WebRequest {
  std::string method;
  std::string path;                           // decoded
  std::map<std::string, std::string> fields;  // the first of each; names in lower case

  // Empty where it is not there.
  std::string Field(const std::string& name) const;
};

struct WebResponse {
  int status = 500;
  std::string content_type = {};  // empty: no body
  std::string body = {};
  std::map<std::string, std::string> fields = {};
};

class WebHandler {
 public:
  virtual ~WebHandler() = default;
  // What can be answered without the body. The connection ends after it.
  virtual std::optional<WebResponse> Refuse(const WebRequest& request) = 0;
  // Reads the body: hands each piece to `take`, whose error ends it and is returned. UNAVAILABLE:
  // the connection broke.
  using Take = std::function<absl::Status(absl::string_view bytes)>;
  using ReadBody = std::function<absl::Status(const Take& take)>;
  // Only POST, with a body that is not encoded. If the body is not read whole, the connection ends
  // after the answer.
  virtual WebResponse Post(const WebRequest& request, const ReadBody& body) = 0;
};

// Until the client goes, falls silent for `silence`, or sends what is no HTTP. A head has to come
// within `silence` as a whole.
void ServeHttp(privacy::TlsServer& stream, WebHandler& handler, absl::Duration silence);

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_WEB_SERVER_H_
