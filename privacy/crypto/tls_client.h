// A stream to a server over TLS 1.2 or 1.3 with certificates on both sides, for protocols that are
// not gRPC's (syslog to a hospital's audit repository).
//
// The server's certificate must lead to one of the given roots and name the host. TLS 1.2 is let in
// because repositories in hospitals are old; nothing below it is.
//
// Order: Connect, Write..., Close. Not thread-safe. Calls block for at most `timeout` each.
// The writing thread must not be one that SIGPIPE kills.
// Errors: INVALID_ARGUMENT: certificate, key or roots do not read, or do not fit each other.
// PERMISSION_DENIED: the server's certificate is not one we trust. UNAVAILABLE: everything else.
#ifndef CONSILIUM_PRIVACY_CRYPTO_TLS_CLIENT_H_
#define CONSILIUM_PRIVACY_CRYPTO_TLS_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

struct TlsClientOptions {
  std::string host;  // a name or an address; the server's certificate must have it
  uint16_t port = 0;
  std::string ca_pem;  // one or more roots
  std::string certificate_pem;
  SecretBytes key_pem;
  absl::Duration timeout = absl::Seconds(10);  // of each step
};

class TlsClient {
 public:
  static absl::StatusOr<std::unique_ptr<TlsClient>> Connect(const TlsClientOptions& options);
  ~TlsClient();  // Close()

  // All of it, or an error after which the stream is of no use.
  absl::Status Write(absl::string_view data);
  // Reads what the server sent and drops it. UNAVAILABLE: the server has closed the stream.
  absl::Status CheckOpen();
  // Bytes that the server's machine has not acknowledged yet. Syslog has no answer of its own: this
  // is as near as it gets to knowing that a message has arrived.
  uint64_t UnacknowledgedBytes() const;
  // Says goodbye (close_notify) and closes. Idempotent.
  void Close();

 private:
  struct Rep;
  TlsClient();
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_TLS_CLIENT_H_
