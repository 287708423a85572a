#include "privacy/crypto/tls_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/tls_context.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr size_t kDropBytes = 4096;
constexpr size_t kWriteBytesMax = 16 * 1024;  // a TLS record

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
template <typename T>
using Owned = std::unique_ptr<T, SslDeleter>;

absl::Status Await(int fd, int16_t events, absl::Duration timeout, const char* what) {
  pollfd entry = {fd, events, 0};
  const int ready = ::poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  if (ready > 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(what, ready == 0 ? " took too long" : " failed"));
}

absl::StatusOr<int> ConnectTcp(const TlsClientOptions& options) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  const std::string port = absl::StrCat(options.port);
  if (::getaddrinfo(options.host.c_str(), port.c_str(), &hints, &raw) != 0) {
    return absl::UnavailableError("the server's name does not resolve");
  }
  const Owned<addrinfo> list(raw);
  absl::Status last = absl::UnavailableError("the server has no address");
  for (const addrinfo* at = list.get(); at != nullptr; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    last = absl::OkStatus();
    if (::connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
      last = errno == EINPROGRESS ? Await(fd, POLLOUT, options.timeout, "the connection")
                                  : absl::UnavailableError("the server cannot be reached");
      int error = 0;
      socklen_t size = sizeof error;
      if (last.ok() && (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)) {
        last = absl::UnavailableError("the server refuses the connection");
      }
    }
    if (last.ok()) return fd;
    ::close(fd);
  }
  return last;
}

// The certificate has to name the host; an address is looked for among the addresses.
void ExpectHost(SSL* ssl, const std::string& host) {
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1) return;
  SSL_set_tlsext_host_name(ssl, host.c_str());
  SSL_set1_host(ssl, host.c_str());
}

}  // namespace

struct TlsClient::Rep {
  ~Rep() {
    ssl.reset();
    if (fd >= 0) ::close(fd);
  }
  // Waits for what the library wants before it can go on. `result` is what its call returned.
  absl::Status Wait(int result, const char* what) {
    switch (SSL_get_error(ssl.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return Await(fd, POLLIN, timeout, what);
      case SSL_ERROR_WANT_WRITE:
        return Await(fd, POLLOUT, timeout, what);
      default:
        return absl::UnavailableError(absl::StrCat(what, " failed"));
    }
  }
  absl::Status Handshake() {
    int result = 0;
    while ((result = SSL_connect(ssl.get())) != 1) {
      const absl::Status waited = Wait(result, "the TLS handshake");
      if (waited.ok()) continue;
      const long verdict = SSL_get_verify_result(ssl.get());
      if (verdict == X509_V_OK) return waited;
      return absl::PermissionDeniedError(
          absl::StrCat("the server's certificate: ", X509_verify_cert_error_string(verdict)));
    }
    return absl::OkStatus();
  }

  int fd = -1;
  absl::Duration timeout;
  Owned<SSL_CTX> context;
  Owned<SSL> ssl;
  bool broken = false;
};

TlsClient::TlsClient() : rep_(std::make_unique<Rep>()) {}
TlsClient::~TlsClient() { Close(); }

absl::StatusOr<std::unique_ptr<TlsClient>> TlsClient::Connect(const TlsClientOptions& options) {
  const OpensslErrorScope errors;
  std::unique_ptr<TlsClient> client(new TlsClient);
  Rep& rep = *client->rep_;
  rep.timeout = options.timeout;
  rep.context.reset(SSL_CTX_new(TLS_client_method()));
  if (rep.context == nullptr) return absl::InternalError("no TLS context");
  SSL_CTX_set_min_proto_version(rep.context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(rep.context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_clear_mode(rep.context.get(), SSL_MODE_AUTO_RETRY);
  CSL_RETURN_IF_ERROR(SetRoots(rep.context.get(), options.ca_pem));
  CSL_RETURN_IF_ERROR(SetIdentity(rep.context.get(), options.certificate_pem, options.key_pem));
  CSL_ASSIGN_OR_RETURN(rep.fd, ConnectTcp(options));
  const int yes = 1;
  ::setsockopt(rep.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  rep.ssl.reset(SSL_new(rep.context.get()));
  if (rep.ssl == nullptr || SSL_set_fd(rep.ssl.get(), rep.fd) != 1) {
    return absl::InternalError("no TLS stream");
  }
  ExpectHost(rep.ssl.get(), options.host);
  CSL_RETURN_IF_ERROR(rep.Handshake());
  return client;
}

absl::Status TlsClient::Write(absl::string_view data) {
  const OpensslErrorScope errors;
  if (rep_->ssl == nullptr || rep_->broken) return absl::UnavailableError("the stream is closed");
  while (!data.empty()) {
    const int size = static_cast<int>(std::min(data.size(), kWriteBytesMax));
    const int written = SSL_write(rep_->ssl.get(), data.data(), size);
    if (written > 0) {
      data.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    const absl::Status waited = rep_->Wait(written, "the write");
    rep_->broken = !waited.ok();
    CSL_RETURN_IF_ERROR(waited);
  }
  return absl::OkStatus();
}

absl::Status TlsClient::CheckOpen() {
  const OpensslErrorScope errors;
  if (rep_->ssl == nullptr || rep_->broken) return absl::UnavailableError("the stream is closed");
  char dropped[kDropBytes];
  while (true) {
    const int read = SSL_read(rep_->ssl.get(), dropped, sizeof dropped);
    if (read > 0) continue;
    const int error = SSL_get_error(rep_->ssl.get(), read);
    pollfd entry = {rep_->fd, POLLIN, 0};
    // A session ticket also ends in WANT_READ: only when nothing is left to read is it quiet.
    if (error == SSL_ERROR_WANT_READ && ::poll(&entry, 1, 0) > 0) continue;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return absl::OkStatus();
    rep_->broken = true;
    return absl::UnavailableError("the server has closed the stream");
  }
}

uint64_t TlsClient::UnacknowledgedBytes() const {
  int bytes = 0;
  if (rep_->fd < 0 || ::ioctl(rep_->fd, SIOCOUTQ, &bytes) != 0) return 0;
  return static_cast<uint64_t>(bytes);
}

void TlsClient::Close() {
  const OpensslErrorScope errors;
  if (rep_->ssl != nullptr && !rep_->broken) SSL_shutdown(rep_->ssl.get());
  rep_ = std::make_unique<Rep>();
}

}  // namespace consilium::privacy
