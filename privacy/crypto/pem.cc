#include "privacy/crypto/pem.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr size_t kLineBytes = 48;  // 64 base64 characters
constexpr absl::string_view kCertificateLabel = "CERTIFICATE";
constexpr absl::string_view kRequestLabel = "CERTIFICATE REQUEST";
constexpr absl::string_view kKeyLabel = "PRIVATE KEY";

absl::Status Malformed(absl::string_view label) {
  return absl::InvalidArgumentError(absl::StrCat("not a PEM ", label));
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

bool IsBase64(char c) { return absl::ascii_isalnum(c) || c == '+' || c == '/'; }

// `body` without white space, as long as it is well formed base64 with padding; empty otherwise.
SecretBytes CompactBase64(absl::string_view body) {
  SecretBytes compact(body.size());
  char* end = std::copy_if(body.begin(), body.end(), compact.data(),
                           [](char c) { return !absl::ascii_isspace(c); });
  absl::string_view text(compact.data(), static_cast<size_t>(end - compact.data()));
  if (text.size() % 4 != 0) return SecretBytes();
  absl::string_view digits = text;
  if (absl::ConsumeSuffix(&digits, "=")) absl::ConsumeSuffix(&digits, "=");
  if (!std::all_of(digits.begin(), digits.end(), IsBase64)) return SecretBytes();
  return SecretBytes(text);
}

// i2d functions allocate by themselves when asked with a null pointer; this gives them memory of
// ours, so that keys are wiped.
template <typename T>
SecretBytes Der(T* object, int (*encode)(T*, unsigned char**)) {
  const int size = encode(object, nullptr);
  CSL_CHECK(size > 0);
  SecretBytes der(static_cast<size_t>(size));
  auto* out = reinterpret_cast<unsigned char*>(der.data());
  CSL_CHECK(encode(object, &out) == size);
  return der;
}

int EncodeCertificate(X509* certificate, unsigned char** out) { return i2d_X509(certificate, out); }
int EncodeRequest(X509_REQ* request, unsigned char** out) { return i2d_X509_REQ(request, out); }
int EncodeKey(PKCS8_PRIV_KEY_INFO* key, unsigned char** out) {
  return i2d_PKCS8_PRIV_KEY_INFO(key, out);
}
int EncodeSpki(X509_PUBKEY* key, unsigned char** out) { return i2d_X509_PUBKEY(key, out); }

// The object whose DER encoding is all of the PEM block.
template <typename T>
absl::StatusOr<OpensslPtr<T>> Parse(absl::string_view pem, absl::string_view label,
                                    T* (*decode)(T**, const unsigned char**, long)) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes der, DecodePem(pem, label));
  const OpensslErrorScope errors;
  const unsigned char* in = Bytes(der.view());
  OpensslPtr<T> object(decode(nullptr, &in, static_cast<long>(der.size())));
  if (object == nullptr || in != Bytes(der.view()) + der.size()) return Malformed(label);
  return object;
}

}  // namespace

absl::StatusOr<SecretBytes> DecodePem(absl::string_view pem, absl::string_view label) {
  if (pem.size() > kPemBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("PEM ", label, ": more than ", kPemBytesMax, " bytes"));
  }
  absl::string_view body = absl::StripAsciiWhitespace(pem);
  if (!absl::ConsumePrefix(&body, absl::StrCat("-----BEGIN ", label, "-----\n")) &&
      !absl::ConsumePrefix(&body, absl::StrCat("-----BEGIN ", label, "-----\r\n"))) {
    return Malformed(label);
  }
  if (!absl::ConsumeSuffix(&body, absl::StrCat("\n-----END ", label, "-----"))) {
    return Malformed(label);
  }
  const SecretBytes text = CompactBase64(body);
  if (text.size() == 0) return Malformed(label);
  SecretBytes der(text.size() / 4 * 3);
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(der.data()), Bytes(text.view()),
                                   static_cast<int>(text.size()));
  if (size != static_cast<int>(der.size())) return Malformed(label);
  const size_t padding =
      static_cast<size_t>(std::count(text.view().begin(), text.view().end(), '='));
  return SecretBytes(der.view().substr(0, der.size() - padding));
}

SecretBytes EncodePem(absl::string_view der, absl::string_view label) {
  const std::string head = absl::StrCat("-----BEGIN ", label, "-----\n");
  const std::string tail = absl::StrCat("-----END ", label, "-----\n");
  const size_t lines = (der.size() + kLineBytes - 1) / kLineBytes;
  // EVP_EncodeBlock ends each line with a NUL, which the line's '\n' replaces.
  SecretBytes pem(head.size() + (der.size() + 2) / 3 * 4 + lines + tail.size());
  char* out = std::copy(head.begin(), head.end(), pem.data());
  for (; !der.empty(); der.remove_prefix(std::min(der.size(), kLineBytes))) {
    const absl::string_view line = der.substr(0, kLineBytes);
    out += EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out), Bytes(line),
                           static_cast<int>(line.size()));
    *out++ = '\n';
  }
  out = std::copy(tail.begin(), tail.end(), out);
  CSL_CHECK(out == pem.data() + pem.size());
  return pem;
}

absl::StatusOr<X509Ptr> CertificateFromPem(absl::string_view pem) {
  return Parse<X509>(pem, kCertificateLabel, d2i_X509);
}

absl::StatusOr<X509RequestPtr> RequestFromPem(absl::string_view pem) {
  return Parse<X509_REQ>(pem, kRequestLabel, d2i_X509_REQ);
}

absl::StatusOr<PkeyPtr> KeyFromPem(const SecretBytes& pem) {
  CSL_ASSIGN_OR_RETURN(const Pkcs8Ptr info,
                       Parse<PKCS8_PRIV_KEY_INFO>(pem.view(), kKeyLabel, d2i_PKCS8_PRIV_KEY_INFO));
  const OpensslErrorScope errors;
  PkeyPtr key(EVP_PKCS82PKEY(info.get()));
  if (key == nullptr) return Malformed(kKeyLabel);
  return key;
}

std::string CertificateToPem(x509_st* certificate) {
  return std::string(EncodePem(CertificateDer(certificate), kCertificateLabel).view());
}

std::string RequestToPem(X509_req_st* request) {
  return std::string(EncodePem(Der(request, EncodeRequest).view(), kRequestLabel).view());
}

SecretBytes KeyToPem(evp_pkey_st* key) {
  const Pkcs8Ptr info(EVP_PKEY2PKCS8(key));
  CSL_CHECK(info != nullptr);
  return EncodePem(Der(info.get(), EncodeKey).view(), kKeyLabel);
}

std::string CertificateDer(x509_st* certificate) {
  return std::string(Der(certificate, EncodeCertificate).view());
}

std::string SubjectPublicKeyInfoDer(x509_st* certificate) {
  return std::string(Der(X509_get_X509_PUBKEY(certificate), EncodeSpki).view());
}

}  // namespace consilium::privacy
