// PEM (RFC 7468, strict) to OpenSSL objects and back. Internal to privacy/crypto.
//
// Thread-safe functions. INVALID_ARGUMENT: more than kPemBytesMax, anything but white space around
// the one block, a label other than the one expected, headers (so: encrypted keys), bytes after the
// DER value.
#ifndef CONSILIUM_PRIVACY_CRYPTO_PEM_H_
#define CONSILIUM_PRIVACY_CRYPTO_PEM_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

inline constexpr size_t kPemBytesMax = size_t{64} << 10;

absl::StatusOr<SecretBytes> DecodePem(absl::string_view pem, absl::string_view label);
SecretBytes EncodePem(absl::string_view der, absl::string_view label);

absl::StatusOr<X509Ptr> CertificateFromPem(absl::string_view pem);
absl::StatusOr<X509RequestPtr> RequestFromPem(absl::string_view pem);
// A PKCS#8 key, not encrypted.
absl::StatusOr<PkeyPtr> KeyFromPem(const SecretBytes& pem);

std::string CertificateToPem(x509_st* certificate);
std::string RequestToPem(X509_req_st* request);
SecretBytes KeyToPem(evp_pkey_st* key);

// The DER encodings behind the two fingerprints.
std::string CertificateDer(x509_st* certificate);
std::string SubjectPublicKeyInfoDer(x509_st* certificate);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_PEM_H_
