// The making half of certificate.h: keys, requests, and what the CA signs.
#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/pem.h"
#include "privacy/crypto/random.h"
#include "proto/base/check.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr char kLeafCurve[] = "prime256v1";
constexpr char kCaCurve[] = "secp384r1";
constexpr size_t kSerialBytes = 16;
constexpr size_t kAltNamesMax = 32;
constexpr size_t kDnsNameBytesMax = 253;
constexpr size_t kDnsLabelBytesMax = 63;
constexpr int64_t kUnixSecondsMax = 253402300799;  // the last second of 9999

PkeyPtr GenerateKey(const char* curve) {
  PkeyPtr key(EVP_EC_gen(curve));
  CSL_CHECK(key != nullptr);
  return key;
}

// INVALID_ARGUMENT: not a key on P-256, named as such.
absl::Status CheckP256(EVP_PKEY* key) {
  char group[32] = {};
  size_t size = 0;
  int spelled_out = 0;
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
      EVP_PKEY_get_group_name(key, group, sizeof(group), &size) != 1 ||
      absl::string_view(group, size) != kLeafCurve ||
      EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &spelled_out) !=
          1 ||
      spelled_out != 0) {
    return absl::InvalidArgumentError("the key is not on the curve P-256");
  }
  return absl::OkStatus();
}

void AddToName(X509_NAME* name, int nid, absl::string_view value) {
  CSL_CHECK(X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>(value.data()),
                                       static_cast<int>(value.size()), -1, 0) == 1);
}

struct Validity {
  int64_t first;  // seconds since 1970, both inclusive
  int64_t last;
};

absl::StatusOr<Validity> ValidityOf(absl::Time not_before, absl::Duration lifetime) {
  const Validity validity{.first = absl::ToUnixSeconds(not_before),
                          .last = absl::ToUnixSeconds(not_before + lifetime)};
  if (validity.first < 0 || validity.last > kUnixSecondsMax || validity.first >= validity.last) {
    return absl::InvalidArgumentError(
        "certificate: its validity is at least a second, between 1970 and 9999");
  }
  return validity;
}

// A version 3 certificate with a random serial number and no extension yet.
X509Ptr NewCertificate(const Validity& validity, EVP_PKEY* key) {
  X509Ptr certificate(X509_new());
  CSL_CHECK(certificate != nullptr);
  std::string serial = RandomBytes(kSerialBytes);
  serial[0] = static_cast<char>((serial[0] & 0x3f) | 0x40);  // positive, and always 16 bytes
  CSL_CHECK(X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  CSL_CHECK(
      ASN1_STRING_set(X509_get_serialNumber(certificate.get()), serial.data(), kSerialBytes) == 1);
  CSL_CHECK(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), validity.first) != nullptr);
  CSL_CHECK(ASN1_TIME_set(X509_getm_notAfter(certificate.get()), validity.last) != nullptr);
  CSL_CHECK(X509_set_pubkey(certificate.get(), key) == 1);
  return certificate;
}

struct Extension {
  int nid;
  const char* value;  // literals only: OpenSSL's own little language, never anything from outside
};

bool AddExtensions(X509* certificate, X509* issuer, std::initializer_list<Extension> extensions) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const Extension& extension : extensions) {
    const X509ExtensionPtr made(
        X509V3_EXT_conf_nid(nullptr, &context, extension.nid, extension.value));
    if (made == nullptr || X509_add_ext(certificate, made.get(), -1) != 1) return false;
  }
  return true;
}

void AppendName(GENERAL_NAMES* names, int type, AsnStringPtr value) {
  CSL_CHECK(value != nullptr);
  GENERAL_NAME* name = GENERAL_NAME_new();
  CSL_CHECK(name != nullptr);
  GENERAL_NAME_set0_value(name, type, value.release());
  CSL_CHECK(sk_GENERAL_NAME_push(names, name) > 0);
}

AsnStringPtr Ia5String(absl::string_view text) {
  AsnStringPtr value(ASN1_IA5STRING_new());
  CSL_CHECK(value != nullptr);
  CSL_CHECK(ASN1_STRING_set(value.get(), text.data(), static_cast<int>(text.size())) == 1);
  return value;
}

absl::Status CheckDnsName(absl::string_view name) {
  const absl::Status malformed = absl::InvalidArgumentError("certificate: not a DNS name");
  if (name.empty() || name.size() > kDnsNameBytesMax) return malformed;
  for (const absl::string_view label : absl::StrSplit(name, '.')) {
    const bool fits = !label.empty() && label.size() <= kDnsLabelBytesMax && label.front() != '-' &&
                      label.back() != '-' && std::all_of(label.begin(), label.end(), [](char c) {
                        return absl::ascii_isalnum(c) || c == '-';
                      });
    if (!fits) return malformed;
  }
  return absl::OkStatus();
}

absl::StatusOr<GeneralNamesPtr> AltNames(const IssueOptions& options) {
  if (options.identity.role != Role::kCoordinator &&
      !(options.dns_names.empty() && options.ip_addresses.empty())) {
    return absl::InvalidArgumentError("certificate: host names are for the coordinator only");
  }
  if (options.dns_names.size() + options.ip_addresses.size() > kAltNamesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate: more than ", kAltNamesMax, " host names"));
  }
  GeneralNamesPtr names(sk_GENERAL_NAME_new_null());
  CSL_CHECK(names != nullptr);
  AppendName(names.get(), GEN_URI, Ia5String(IdentityUri(options.identity)));
  for (const std::string& dns_name : options.dns_names) {
    CSL_RETURN_IF_ERROR(CheckDnsName(dns_name));
    AppendName(names.get(), GEN_DNS, Ia5String(dns_name));
  }
  for (const std::string& ip_address : options.ip_addresses) {
    const bool whole = ip_address.find('\0') == std::string::npos;
    AsnStringPtr address(whole ? a2i_IPADDRESS(ip_address.c_str()) : nullptr);
    if (address == nullptr) return absl::InvalidArgumentError("certificate: not an IP address");
    AppendName(names.get(), GEN_IPADD, std::move(address));
  }
  return names;
}

absl::Status CheckIdentity(const Identity& identity) {
  CSL_RETURN_IF_ERROR(CheckName("federation", identity.federation));
  return CheckName("name", identity.name);
}

struct Ca {
  X509Ptr certificate;
  PkeyPtr key;
};

absl::StatusOr<Ca> ParseCa(const KeyAndCertificate& pem, absl::string_view federation) {
  Ca ca;
  CSL_ASSIGN_OR_RETURN(ca.certificate, CertificateFromPem(pem.certificate_pem));
  CSL_ASSIGN_OR_RETURN(ca.key, KeyFromPem(pem.key_pem));
  if (X509_check_ca(ca.certificate.get()) != 1) {
    return absl::InvalidArgumentError("the issuer's certificate is not a CA");
  }
  if (X509_check_private_key(ca.certificate.get(), ca.key.get()) != 1) {
    return absl::InvalidArgumentError("the CA's key does not belong to its certificate");
  }
  char organization[128] = {};
  const int size =
      X509_NAME_get_text_by_NID(X509_get_subject_name(ca.certificate.get()), NID_organizationName,
                                organization, sizeof(organization));
  if (size < 0 || absl::string_view(organization, static_cast<size_t>(size)) != federation) {
    return absl::InvalidArgumentError("the CA belongs to another federation");
  }
  return ca;
}

// The request's key, once the request has shown that its sender holds it.
absl::StatusOr<PkeyPtr> RequestedKey(absl::string_view csr_pem) {
  CSL_ASSIGN_OR_RETURN(const X509RequestPtr request, RequestFromPem(csr_pem));
  PkeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (key == nullptr) return absl::InvalidArgumentError("certificate request: no usable key");
  CSL_RETURN_IF_ERROR(Annotate(CheckP256(key.get()), "certificate request"));
  const int algorithm = X509_REQ_get_signature_nid(request.get());
  const bool strong = algorithm == NID_ecdsa_with_SHA256 || algorithm == NID_ecdsa_with_SHA384 ||
                      algorithm == NID_ecdsa_with_SHA512;
  if (!strong || X509_REQ_verify(request.get(), key.get()) != 1) {
    return absl::InvalidArgumentError("certificate request: not signed by its own key");
  }
  return key;
}

}  // namespace

absl::StatusOr<KeyAndCertificate> MakeRootCa(absl::string_view federation, absl::Time not_before,
                                             absl::Duration lifetime) {
  CSL_RETURN_IF_ERROR(CheckName("federation", federation));
  CSL_ASSIGN_OR_RETURN(const Validity validity, ValidityOf(not_before, lifetime));
  const OpensslErrorScope errors;
  const PkeyPtr key = GenerateKey(kCaCurve);
  const X509Ptr certificate = NewCertificate(validity, key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  AddToName(name, NID_organizationName, federation);
  AddToName(name, NID_commonName, "Consilium root CA");
  CSL_CHECK(X509_set_issuer_name(certificate.get(), name) == 1);
  CSL_CHECK(AddExtensions(certificate.get(), certificate.get(),
                          {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                           {NID_key_usage, "critical,keyCertSign,cRLSign"},
                           {NID_subject_key_identifier, "hash"},
                           {NID_authority_key_identifier, "keyid:always"}}));
  CSL_CHECK(X509_sign(certificate.get(), key.get(), EVP_sha384()) > 0);
  return KeyAndCertificate{KeyToPem(key.get()), CertificateToPem(certificate.get())};
}

absl::StatusOr<SecretBytes> GenerateKeyPem() { return KeyToPem(GenerateKey(kLeafCurve).get()); }

absl::StatusOr<std::string> MakeCsrPem(const SecretBytes& key_pem, absl::string_view name) {
  CSL_RETURN_IF_ERROR(CheckName("name", name));
  CSL_ASSIGN_OR_RETURN(const PkeyPtr key, KeyFromPem(key_pem));
  const OpensslErrorScope errors;
  CSL_RETURN_IF_ERROR(CheckP256(key.get()));
  const X509RequestPtr request(X509_REQ_new());
  CSL_CHECK(request != nullptr);
  CSL_CHECK(X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1);
  AddToName(X509_REQ_get_subject_name(request.get()), NID_commonName, name);
  CSL_CHECK(X509_REQ_set_pubkey(request.get(), key.get()) == 1);
  CSL_CHECK(X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0);
  return RequestToPem(request.get());
}

absl::StatusOr<std::string> IssueCertificate(const KeyAndCertificate& ca, absl::string_view csr_pem,
                                             const IssueOptions& options) {
  const OpensslErrorScope errors;
  const Identity& identity = options.identity;
  CSL_RETURN_IF_ERROR(CheckIdentity(identity));
  CSL_ASSIGN_OR_RETURN(Validity validity, ValidityOf(options.not_before, options.lifetime));
  CSL_ASSIGN_OR_RETURN(const GeneralNamesPtr names, AltNames(options));
  CSL_ASSIGN_OR_RETURN(const PkeyPtr key, RequestedKey(csr_pem));
  CSL_ASSIGN_OR_RETURN(const Ca issuer, ParseCa(ca, identity.federation));
  CSL_ASSIGN_OR_RETURN(const absl::Time ca_end, CertificateNotAfter(ca.certificate_pem));
  validity.last = std::min(validity.last, absl::ToUnixSeconds(ca_end));
  if (validity.first >= validity.last) {
    return absl::InvalidArgumentError("the CA ends before the certificate would begin");
  }

  const X509Ptr certificate = NewCertificate(validity, key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  AddToName(name, NID_organizationName, identity.federation);
  AddToName(name, NID_organizationalUnitName, RoleName(identity.role));
  AddToName(name, NID_commonName, identity.name);
  CSL_CHECK(X509_set_issuer_name(certificate.get(),
                                 X509_get_subject_name(issuer.certificate.get())) == 1);
  const char* usage = identity.role == Role::kCoordinator ? "serverAuth" : "clientAuth";
  if (!AddExtensions(certificate.get(), issuer.certificate.get(),
                     {{NID_basic_constraints, "critical,CA:FALSE"},
                      {NID_key_usage, "critical,digitalSignature"},
                      {NID_ext_key_usage, usage},
                      {NID_subject_key_identifier, "hash"},
                      {NID_authority_key_identifier, "keyid:always"}})) {
    return absl::InvalidArgumentError("the CA's certificate has no key identifier");
  }
  CSL_CHECK(X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, names.get(), 0,
                              X509V3_ADD_DEFAULT) == 1);
  if (X509_sign(certificate.get(), issuer.key.get(), EVP_sha384()) <= 0) {
    return absl::InvalidArgumentError("the CA's key cannot sign");
  }
  return CertificateToPem(certificate.get());
}

}  // namespace consilium::privacy
