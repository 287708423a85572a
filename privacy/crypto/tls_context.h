// What a TLS context of ours has to demand, whoever drives it: our own streams, an HTTP library,
// DCMTK. Contexts are OpenSSL's, borrowed.
//
// Errors: INVALID_ARGUMENT: certificate, key or roots do not read, or do not fit each other.
#ifndef CONSILIUM_PRIVACY_CRYPTO_TLS_CONTEXT_H_
#define CONSILIUM_PRIVACY_CRYPTO_TLS_CONTEXT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"

struct ssl_ctx_st;

namespace consilium::privacy {

// TLS 1.3, or 1.2 with forward secrecy and authenticated encryption, and nothing else (BCP 195, RFC
// 9325 4.2; PS3.15 B.9); no renegotiation.
void DemandBcp195(ssl_ctx_st* context);

// One or more roots that the peer's certificate may lead to; the system's are not among them.
absl::Status SetRoots(ssl_ctx_st* context, const std::string& ca_pem);

// A certificate with its chain behind it, and its key.
absl::Status SetIdentity(ssl_ctx_st* context, absl::string_view certificate_pem,
                         const SecretBytes& key_pem);

// The server's certificate has to name `host`; an address is looked for among the addresses.
void DemandServerName(ssl_ctx_st* context, const std::string& host);

// In words, what a verification of a certificate ended with (X509_V_...).
std::string VerificationWords(long result);

// Whether a certificate (DER) names `host` (RFC 6125; an address among the addresses).
bool CertificateNames(absl::string_view certificate_der, const std::string& host);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_TLS_CONTEXT_H_
