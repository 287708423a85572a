// The federation's certificates: a root CA, and leaf certificates whose only identity is a URI SAN.
//
// Identity URI: consilium://FEDERATION/ROLE/NAME with ROLE one of coordinator, admin, site.
// Keys are ECDSA P-256 in PKCS#8 PEM; the CA signs with P-384. RFC 5280, RFC 2986.
//
// Thread-safe functions. A PEM text given here holds exactly one block of the kind asked for, with
// nothing but white space around it, and at most 64 KiB; whatever else is INVALID_ARGUMENT.
#ifndef CONSILIUM_PRIVACY_CRYPTO_CERTIFICATE_H_
#define CONSILIUM_PRIVACY_CRYPTO_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

enum class Role { kCoordinator, kAdmin, kSite };
absl::string_view RoleName(Role role);

struct Identity {
  std::string federation;
  Role role = Role::kSite;
  std::string name;
  friend bool operator==(const Identity&, const Identity&) = default;
};
std::string IdentityUri(const Identity& identity);
// INVALID_ARGUMENT: not of the form above, or a part is not a CheckName() name.
absl::StatusOr<Identity> ParseIdentityUri(absl::string_view uri);

struct KeyAndCertificate {
  SecretBytes key_pem;
  std::string certificate_pem;
};

// A self-signed root: CA:TRUE, pathlen 0, keyCertSign and cRLSign only.
// INVALID_ARGUMENT: a federation that is not a CheckName() name, or a validity outside 1970 to
// 9999.
absl::StatusOr<KeyAndCertificate> MakeRootCa(absl::string_view federation, absl::Time not_before,
                                             absl::Duration lifetime);

absl::StatusOr<SecretBytes> GenerateKeyPem();
// PKCS#10 request for `key`, self-signed (proof of possession); subject CN is `name`.
// INVALID_ARGUMENT: a key that is not P-256, a name that is not a CheckName() name.
absl::StatusOr<std::string> MakeCsrPem(const SecretBytes& key_pem, absl::string_view name);

struct IssueOptions {
  Identity identity;
  std::vector<std::string> dns_names;     // coordinator only
  std::vector<std::string> ip_addresses;  // coordinator only
  absl::Time not_before;
  absl::Duration lifetime;
};
// A certificate for the request's key. Everything but the key is taken from `options`, nothing from
// the request. EKU: serverAuth for the coordinator, clientAuth for the others. It ends with the CA
// at the latest, even if `lifetime` is longer.
// INVALID_ARGUMENT: the request does not parse, is not signed by its key, or its key is not P-256;
// `ca` is not a CA of the identity's federation, does not fit its key, or ends before `not_before`;
// a name in `options` is not well formed.
absl::StatusOr<std::string> IssueCertificate(const KeyAndCertificate& ca, absl::string_view csr_pem,
                                             const IssueOptions& options);

// SHA-256 of the certificate's SubjectPublicKeyInfo (DER), lower-case hex: the name by which the
// coordinator enrols and revokes a key.
absl::StatusOr<std::string> SpkiSha256Hex(absl::string_view certificate_pem);
// SHA-256 of the whole certificate (DER), lower-case hex: the fingerprint in an invitation.
absl::StatusOr<std::string> CertificateSha256Hex(absl::string_view certificate_pem);
// The identity in the URI SAN. INVALID_ARGUMENT: none, or more than one.
absl::StatusOr<Identity> CertificateIdentity(absl::string_view certificate_pem);
absl::StatusOr<absl::Time> CertificateNotBefore(absl::string_view certificate_pem);
absl::StatusOr<absl::Time> CertificateNotAfter(absl::string_view certificate_pem);
// INVALID_ARGUMENT: the certificate is for another key.
absl::Status CheckCertificateKey(absl::string_view certificate_pem, const SecretBytes& key_pem);
// OK when `certificate_pem` is a leaf signed by the root `ca_pem` and both are valid at `now`.
// PERMISSION_DENIED: not signed by it, or a CA itself. FAILED_PRECONDITION: expired or not yet
// valid. Says nothing about the role or about revocation.
absl::Status VerifyCertificate(absl::string_view certificate_pem, absl::string_view ca_pem,
                               absl::Time now);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_CERTIFICATE_H_
