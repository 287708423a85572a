// A certificate that gRPC asks for at each handshake. Its C++ API has this only behind an experimental
// class that reads files by itself, key and certificate one after the other, and is left without any
// when they do not fit; so this is the C API's, which checks callers exactly as SslServerCredentials.
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "proto/base/check.h"
#include "proto/wire/transport.h"

namespace consilium::wire {
namespace {

// gRPC 1.51 takes the new certificate under a lock but begins handshakes outside of it: one that has just
// asked gets the time to begin before the old certificate goes. Once for each replacement.
constexpr absl::Duration kHandshakesBegin = absl::Milliseconds(100);

class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  // `port` is what `fetch` is given.
  ReloadingCredentials(PeerCertificate peer, grpc_ssl_server_certificate_config_callback fetch,
                       void* port)
      : credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                peer == PeerCertificate::kRequired
                    ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                    : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
                fetch, port))) {
    CSL_CHECK(credentials_ != nullptr);
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    CSL_CHECK(false);  // callers are known by their certificate alone
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }
  grpc_server_credentials* const credentials_;
};

}  // namespace

// What gRPC is given for one port.
struct ServerIdentity::Port {
  const ServerIdentity& identity;
  int64_t given = -1;  // number of the certificate that gRPC has; under gRPC's lock

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* user_data, grpc_ssl_server_certificate_config** config);
};

grpc_ssl_certificate_config_reload_status ServerIdentity::Port::Fetch(
    void* user_data, grpc_ssl_server_certificate_config** config) {
  Port& port = *static_cast<Port*>(user_data);
  const Numbered now = port.identity.Get();
  if (now.number == port.given) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  if (port.given >= 0) absl::Notification().WaitForNotificationWithTimeout(kHandshakesBegin);
  const grpc_ssl_pem_key_cert_pair pair = {now.files.key_pem.c_str(),
                                           now.files.certificate_pem.c_str()};
  // The roots are not read where no certificate is asked for, but have to be there.
  *config = grpc_ssl_server_certificate_config_create(now.files.ca_pem.c_str(), &pair, 1);
  port.given = now.number;
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

ServerIdentity::ServerIdentity(TlsFiles files) : now_{0, std::move(files)} {}
ServerIdentity::~ServerIdentity() = default;

void ServerIdentity::Replace(std::string certificate_pem, std::string key_pem) {
  absl::MutexLock lock(&mutex_);
  ++now_.number;
  now_.files.certificate_pem = std::move(certificate_pem);
  now_.files.key_pem = std::move(key_pem);
}

ServerIdentity::Numbered ServerIdentity::Get() const {
  absl::MutexLock lock(&mutex_);
  return now_;
}

std::shared_ptr<grpc::ServerCredentials> ServerTls(ServerIdentity& identity, PeerCertificate peer) {
  absl::MutexLock lock(&identity.mutex_);
  identity.ports_.emplace_back(new ServerIdentity::Port{identity});
  return std::make_shared<ReloadingCredentials>(peer, ServerIdentity::Port::Fetch,
                                                identity.ports_.back().get());
}

}  // namespace consilium::wire
