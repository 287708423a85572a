// Reads from a DICOMweb origin server (PS3.18) over HTTP/1.1, with bounds on what it may answer.
//
// It reads a stranger's bytes with libraries: use it in a process that may die. No message holds
// anything of an answer but its HTTP status.
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_WEB_CLIENT_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_WEB_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::dicomweb {

// The parts of http[s]://HOST[:PORT][/PATH].
struct WebRoot {
  bool tls = false;
  std::string host;  // a name or an IPv4 address
  int port = 0;
  std::string path;  // without a slash at the end
};
// INVALID_ARGUMENT: not of that form; also a query, a fragment, or a user's name in it.
absl::StatusOr<WebRoot> ParseWebRoot(absl::string_view url);

// PEM files. The server's certificate has to come from `ca` and to name the root's host.
struct WebTls {
  std::string ca;
  std::string certificate;
  std::string key;
};

struct WebClientOptions {
  WebRoot root;
  std::optional<WebTls> tls;  // needed where the root says https
  std::string authorization;  // the header's value; empty: none
  absl::Duration silence = absl::Minutes(10);
};

// A value in a URL's query (RFC 3986 3.4). What may stand there as it is, DICOM's wild cards and
// list separators above all, does: there are servers that decode nothing (orthanc-dicomweb 1.7).
std::string PercentEncode(absl::string_view text);

// Thread-compatible; keeps its connection between requests.
//
// Errors of both: UNAVAILABLE: no connection, it broke, or the server is busy (HTTP 408, 429, 5xx):
// the same call may work later. PERMISSION_DENIED: the server's certificate, or HTTP 401 and 403.
// NOT_FOUND: HTTP 404 and 410. FAILED_PRECONDITION: another answer that is no success, an answer of
// another type, or an encoded one, which nobody has asked for.
class WebClient {
 public:
  // INVALID_ARGUMENT: https without files, or files that do not read or fit each other.
  static absl::StatusOr<std::unique_ptr<WebClient>> Create(const WebClientOptions& options);
  ~WebClient();

  // The answer to a GET of `target` (behind the root) as DICOM JSON; empty where the server has
  // nothing (204). RESOURCE_EXHAUSTED: longer than `bytes_max`.
  absl::StatusOr<std::string> GetJson(const std::string& target, size_t bytes_max);

  // GETs `target` as `accept`. `begin` is given the content type, then `take` each piece; an error
  // of theirs ends the transfer and is returned.
  using Begin = std::function<absl::Status(absl::string_view content_type)>;
  using Take = std::function<absl::Status(absl::string_view bytes)>;
  absl::Status Get(const std::string& target, const std::string& accept, const Begin& begin,
                   const Take& take);

 private:
  struct Rep;
  WebClient();
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_WEB_CLIENT_H_
