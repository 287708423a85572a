// The server's end of one TLS stream on a connected socket: BCP 195, with or without a certificate
// of the client's.
//
// Not thread-safe. Calls block for at most the time given. The calling thread must not be one that
// SIGPIPE kills.
// Errors: INVALID_ARGUMENT: certificate, key or roots do not read, or do not fit each other.
// PERMISSION_DENIED: the client's certificate is missing or not one we trust. UNAVAILABLE:
// everything else; the stream is of no use after it.
#ifndef CONSILIUM_PRIVACY_CRYPTO_TLS_SERVER_H_
#define CONSILIUM_PRIVACY_CRYPTO_TLS_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

struct TlsServerOptions {
  std::string ca_pem;  // whom a client's certificate must come from
  std::string certificate_pem;
  SecretBytes key_pem;
  // A certificate that is shown must hold in either case.
  enum class ClientCertificate { kRequired, kOptional } client = ClientCertificate::kRequired;
};

class TlsServer {
 public:
  // Takes over `socket`, and shakes hands for at most `time`.
  static absl::StatusOr<std::unique_ptr<TlsServer>> Accept(int socket,
                                                           const TlsServerOptions& options,
                                                           absl::Duration time);
  ~TlsServer();  // says goodbye (close_notify) and closes

  // At least one byte, or 0 at the end that the client has announced.
  absl::StatusOr<size_t> Read(char* out, size_t size, absl::Duration silence);
  absl::Status Write(absl::string_view data, absl::Duration silence);
  // The client's certificate (DER), or nothing where it showed none.
  const std::string& client_certificate() const;

 private:
  struct Rep;
  TlsServer();
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_TLS_SERVER_H_
