// The floor for an upload: raw OpenSSL, TLS 1.3 with AES-256-GCM and client certificates, 1 MiB writes.
//
//   tls_floor serve DIR             prints its port; takes connections one after the other
//   tls_floor send DIR PORT BYTES   prints the seconds until the server had them all
// DIR as grpc_floor's `certificates` makes it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "proto/base/clock.h"

namespace {

constexpr int kWriteBytes = 1 << 20;

double Seconds() {
  return absl::ToDoubleSeconds(consilium::Clock::System().Monotonic());
}

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "tls_floor: %s\n", what);
  ERR_print_errors_fp(stderr);
  std::exit(1);
}

SSL_CTX* Context(const std::string& folder, const std::string& name, const SSL_METHOD* method) {
  SSL_CTX* context = SSL_CTX_new(method);
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384");
  if (SSL_CTX_use_certificate_file(context, (folder + "/" + name + ".crt").c_str(),
                                   SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, (folder + "/" + name + ".key").c_str(),
                                  SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_load_verify_locations(context, (folder + "/ca.crt").c_str(), nullptr) != 1) {
    Die("certificates");
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

int Serve(const std::string& folder) {
  SSL_CTX* context = Context(folder, "server", TLS_server_method());
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener, 8) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("listen");
  }
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  std::vector<char> buffer(kWriteBytes);
  while (true) {
    const int connection = ::accept(listener, nullptr, nullptr);
    if (connection < 0) Die("accept");
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, connection);
    if (SSL_accept(ssl) == 1) {
      while (SSL_read(ssl, buffer.data(), kWriteBytes) > 0) {
      }
      SSL_shutdown(ssl);  // the sender's clock stops here
    }
    SSL_free(ssl);
    ::close(connection);
  }
}

int Send(const std::string& folder, int port, long long bytes) {
  SSL_CTX* context = Context(folder, "site", TLS_client_method());
  const int connection = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const int on = 1;
  ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  std::vector<char> buffer(kWriteBytes, 'x');
  const double started = Seconds();
  if (::connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    Die("connect");
  }
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, connection);
  if (SSL_connect(ssl) != 1) Die("handshake");
  while (bytes > 0) {
    const int part = static_cast<int>(bytes < kWriteBytes ? bytes : kWriteBytes);
    if (SSL_write(ssl, buffer.data(), part) != part) Die("write");
    bytes -= part;
  }
  SSL_shutdown(ssl);
  char end = 0;
  SSL_read(ssl, &end, 1);
  std::printf("%.4f\n", Seconds() - started);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "serve") return Serve(argv[2]);
  if (mode == "send" && argc == 5) return Send(argv[2], std::atoi(argv[3]), std::atoll(argv[4]));
  std::fprintf(stderr, "usage: tls_floor serve DIR | send DIR PORT BYTES\n");
  return 2;
}
