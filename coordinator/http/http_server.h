// A small HTTP/1.1 server for what watches the coordinator: GET of a few fixed paths.
//
// Plain text on the wire and no authentication: bind it to loopback or to a network of
// administrators. Threads, requests and waiting are bounded (below): a client that is slow or many
// cannot take more than this from the coordinator. HEAD is answered as GET without the body; every
// other method and path is 404.
//
// Order: Start, then anything; the destructor ends open requests. Thread-safe.
#ifndef CONSILIUM_COORDINATOR_HTTP_HTTP_SERVER_H_
#define CONSILIUM_COORDINATOR_HTTP_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::coordinator {

inline constexpr int kHttpThreads = 4;
inline constexpr size_t kHttpWaitingMax = 16;  // accepted connections without a thread
inline constexpr size_t kHttpRequestBytesMax = 1024;  // of a body, which no path of ours reads
inline constexpr absl::Duration kHttpTimeout = absl::Seconds(5);  // of one read or write
inline constexpr absl::Duration kHttpKeepAlive = absl::Seconds(2);

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// A path, or everything below it when it ends with '/'. The handler gets the whole path and runs
// on one of the server's threads, several at a time.
struct HttpRoute {
  std::string path;
  std::function<HttpResponse(absl::string_view path)> handle;
};

class HttpServer {
 public:
  // `address` is HOST:PORT; port 0 takes any free one. INVALID_ARGUMENT: not such an address.
  // UNAVAILABLE: cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address,
                                                           std::vector<HttpRoute> routes);
  ~HttpServer();

  int port() const { return port_; }

 private:
  struct Rep;
  HttpServer();
  std::unique_ptr<Rep> rep_;
  int port_ = 0;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_HTTP_HTTP_SERVER_H_
