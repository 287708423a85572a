#include "privacy/crypto/tls_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/tls_context.h"
#include "proto/base/clock.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr size_t kWriteBytesMax = 16 * 1024;  // a TLS record

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

std::string ToDer(const X509* certificate) {
  unsigned char* bytes = nullptr;
  const int size = certificate == nullptr ? 0 : i2d_X509(certificate, &bytes);
  if (size <= 0) return "";
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

}  // namespace

struct TlsServer::Rep {
  ~Rep() {
    if (ssl != nullptr && !broken) SSL_shutdown(ssl.get());
    ssl.reset();
    if (fd >= 0) ::close(fd);
  }

  // Waits for what the library wants before it can go on. `result` is what its call returned.
  absl::Status Wait(int result, absl::Duration time) {
    const int error = SSL_get_error(ssl.get(), result);
    pollfd entry = {fd, POLLIN, 0};
    if (error == SSL_ERROR_WANT_WRITE) entry.events = POLLOUT;
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      broken = true;
      return absl::UnavailableError("the TLS stream broke");
    }
    const auto milliseconds =
        static_cast<int>(absl::ToInt64Milliseconds(std::max(time, absl::ZeroDuration())));
    if (::poll(&entry, 1, milliseconds) > 0) return absl::OkStatus();
    broken = true;
    return absl::UnavailableError("the client took too long");
  }

  absl::Status Handshake(absl::Duration time) {
    const Clock& clock = Clock::System();
    const absl::Duration end = clock.Monotonic() + time;
    int result = 0;
    while ((result = SSL_accept(ssl.get())) != 1) {
      const absl::Status waited = Wait(result, end - clock.Monotonic());
      if (waited.ok()) continue;
      const long verdict = SSL_get_verify_result(ssl.get());
      if (verdict == X509_V_OK) return Annotate(waited, "the TLS handshake");
      return absl::PermissionDeniedError(
          absl::StrCat("the client's certificate: ", X509_verify_cert_error_string(verdict)));
    }
    const X509Ptr shown(SSL_get1_peer_certificate(ssl.get()));
    client_certificate = ToDer(shown.get());
    return absl::OkStatus();
  }

  int fd = -1;
  std::unique_ptr<SSL_CTX, SslDeleter> context;
  std::unique_ptr<SSL, SslDeleter> ssl;
  std::string client_certificate;
  bool broken = false;
};

TlsServer::TlsServer() : rep_(std::make_unique<Rep>()) {}
TlsServer::~TlsServer() {
  const OpensslErrorScope errors;
  rep_.reset();
}

absl::StatusOr<std::unique_ptr<TlsServer>> TlsServer::Accept(int socket,
                                                             const TlsServerOptions& options,
                                                             absl::Duration time) {
  const OpensslErrorScope errors;
  std::unique_ptr<TlsServer> server(new TlsServer);
  Rep& rep = *server->rep_;
  rep.fd = socket;
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0) {
    return absl::UnavailableError("the socket cannot be used");
  }
  rep.context.reset(SSL_CTX_new(TLS_server_method()));
  if (rep.context == nullptr) return absl::InternalError("no TLS context");
  SSL_CTX* context = rep.context.get();
  DemandBcp195(context);
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Every connection is served by a process that ends with it: nothing could be resumed.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  const bool required = options.client == TlsServerOptions::ClientCertificate::kRequired;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     nullptr);
  CSL_RETURN_IF_ERROR(SetRoots(context, options.ca_pem));
  CSL_RETURN_IF_ERROR(SetIdentity(context, options.certificate_pem, options.key_pem));
  rep.ssl.reset(SSL_new(context));
  if (rep.ssl == nullptr || SSL_set_fd(rep.ssl.get(), socket) != 1) {
    rep.broken = true;
    return absl::InternalError("no TLS stream");
  }
  CSL_RETURN_IF_ERROR(rep.Handshake(time));
  return server;
}

absl::StatusOr<size_t> TlsServer::Read(char* out, size_t size, absl::Duration silence) {
  const OpensslErrorScope errors;
  Rep& rep = *rep_;
  if (rep.broken) return absl::UnavailableError("the TLS stream broke");
  while (true) {
    size_t got = 0;
    const int result = SSL_read_ex(rep.ssl.get(), out, size, &got);
    if (result == 1) return got;
    if (SSL_get_error(rep.ssl.get(), result) == SSL_ERROR_ZERO_RETURN) return size_t{0};
    CSL_RETURN_IF_ERROR(rep.Wait(result, silence));
  }
}

absl::Status TlsServer::Write(absl::string_view data, absl::Duration silence) {
  const OpensslErrorScope errors;
  Rep& rep = *rep_;
  if (rep.broken) return absl::UnavailableError("the TLS stream broke");
  while (!data.empty()) {
    size_t put = 0;
    const int result =
        SSL_write_ex(rep.ssl.get(), data.data(), std::min(data.size(), kWriteBytesMax), &put);
    if (result == 1) {
      data.remove_prefix(put);
    } else {
      CSL_RETURN_IF_ERROR(rep.Wait(result, silence));
    }
  }
  return absl::OkStatus();
}

const std::string& TlsServer::client_certificate() const { return rep_->client_certificate; }

}  // namespace consilium::privacy
