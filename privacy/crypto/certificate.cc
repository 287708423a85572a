#include "privacy/crypto/certificate.h"

#include <openssl/asn1.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/civil_time.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/pem.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/check.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kScheme = "consilium://";
constexpr int kAuthLevel = 3;  // 128 bits of security in every key and digest

absl::string_view Text(const ASN1_STRING* value) {
  return absl::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                           static_cast<size_t>(ASN1_STRING_length(value)));
}

absl::Status VerifyError(int error) {
  const std::string message =
      absl::StrCat("certificate refused: ", X509_verify_cert_error_string(error));
  switch (error) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return absl::FailedPreconditionError(message);
    default:
      return absl::PermissionDeniedError(message);
  }
}

absl::StatusOr<absl::Time> TimeOf(const ASN1_TIME* time) {
  const OpensslErrorScope errors;
  std::tm utc = {};
  if (ASN1_TIME_to_tm(time, &utc) != 1) {
    return absl::InvalidArgumentError("certificate: its validity is not two times");
  }
  return absl::FromTM(utc, absl::UTCTimeZone());
}

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kCoordinator:
      return "coordinator";
    case Role::kAdmin:
      return "admin";
    case Role::kSite:
      return "site";
  }
  CSL_CHECK(false);
}

std::string IdentityUri(const Identity& identity) {
  return absl::StrCat(kScheme, identity.federation, "/", RoleName(identity.role), "/",
                      identity.name);
}

absl::StatusOr<Identity> ParseIdentityUri(absl::string_view uri) {
  const absl::Status malformed =
      absl::InvalidArgumentError("identity: not consilium://FEDERATION/ROLE/NAME");
  if (!absl::ConsumePrefix(&uri, kScheme)) return malformed;
  const std::vector<absl::string_view> parts = absl::StrSplit(uri, absl::MaxSplits('/', 3));
  if (parts.size() != 3) return malformed;
  Identity identity{.federation = std::string(parts[0]), .name = std::string(parts[2])};
  if (!CheckName("federation", identity.federation).ok() ||
      !CheckName("name", identity.name).ok()) {
    return malformed;
  }
  for (const Role role : {Role::kCoordinator, Role::kAdmin, Role::kSite}) {
    if (parts[1] == RoleName(role)) {
      identity.role = role;
      return identity;
    }
  }
  return malformed;
}

absl::StatusOr<std::string> SpkiSha256Hex(absl::string_view certificate_pem) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  return Sha256Hex(SubjectPublicKeyInfoDer(certificate.get()));
}

absl::StatusOr<std::string> CertificateSha256Hex(absl::string_view certificate_pem) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  return Sha256Hex(CertificateDer(certificate.get()));
}

absl::StatusOr<Identity> CertificateIdentity(absl::string_view certificate_pem) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  const OpensslErrorScope errors;
  // Null as well if the extension is there twice, or does not decode.
  const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr) return absl::InvalidArgumentError("certificate: no subjectAltName");
  std::vector<absl::string_view> uris;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) uris.push_back(Text(name->d.uniformResourceIdentifier));
  }
  if (uris.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate: one URI is its identity, not ", uris.size()));
  }
  return ParseIdentityUri(uris.front());
}

absl::StatusOr<absl::Time> CertificateNotBefore(absl::string_view certificate_pem) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  return TimeOf(X509_get0_notBefore(certificate.get()));
}

absl::StatusOr<absl::Time> CertificateNotAfter(absl::string_view certificate_pem) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  return TimeOf(X509_get0_notAfter(certificate.get()));
}

absl::Status CheckCertificateKey(absl::string_view certificate_pem, const SecretBytes& key_pem) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  CSL_ASSIGN_OR_RETURN(const PkeyPtr key, KeyFromPem(key_pem));
  const OpensslErrorScope errors;
  if (X509_check_private_key(certificate.get(), key.get()) == 1) return absl::OkStatus();
  return absl::InvalidArgumentError("certificate: it is for another key");
}

absl::Status VerifyCertificate(absl::string_view certificate_pem, absl::string_view ca_pem,
                               absl::Time now) {
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  CSL_ASSIGN_OR_RETURN(const X509Ptr ca, CertificateFromPem(ca_pem));
  const OpensslErrorScope errors;
  if (X509_check_ca(ca.get()) != 1) return absl::InvalidArgumentError("the root is not a CA");
  if (X509_check_ca(certificate.get()) != 0) {
    return absl::PermissionDeniedError("certificate refused: it is a CA itself");
  }
  const X509StorePtr store(X509_STORE_new());
  CSL_CHECK(store != nullptr && X509_STORE_add_cert(store.get(), ca.get()) == 1);
  const X509StoreCtxPtr context(X509_STORE_CTX_new());
  CSL_CHECK(context != nullptr);
  CSL_CHECK(X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr) == 1);
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(now));
  X509_VERIFY_PARAM_set_depth(parameters, 0);
  X509_VERIFY_PARAM_set_auth_level(parameters, kAuthLevel);
  CSL_CHECK(X509_VERIFY_PARAM_set_flags(
                parameters, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE) == 1);
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  return VerifyError(X509_STORE_CTX_get_error(context.get()));
}

}  // namespace consilium::privacy
