#include "privacy/crypto/protocol_key.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/x509.h>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/crypto/openssl_handles.h"
#include "privacy/crypto/pem.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kPurpose = "consilium/protocol-key/v1";

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Prefixed(absl::string_view bytes) {
  std::string out(4, '\0');
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(bytes.size() >> (24 - 8 * i));
  return absl::StrCat(out, bytes);
}

std::string SignedBytes(const Identity& identity, absl::string_view public_key) {
  return absl::StrCat(Prefixed(kPurpose), Prefixed(IdentityUri(identity)), Prefixed(public_key));
}

absl::Status CheckPublicKey(absl::string_view public_key) {
  if (public_key.size() == kEd25519PublicKeyBytes) return absl::OkStatus();
  return absl::InvalidArgumentError("protocol key: not of 32 bytes");
}

bool IsP256(const EVP_PKEY* key) {
  char group[64];
  size_t size = 0;
  return EVP_PKEY_get_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group, sizeof(group), &size) == 1 &&
         absl::string_view(group, size) == SN_X9_62_prime256v1;
}

}  // namespace

absl::StatusOr<std::string> SignProtocolKey(const SecretBytes& key_pem, const Identity& identity,
                                            absl::string_view public_key) {
  CSL_RETURN_IF_ERROR(CheckPublicKey(public_key));
  CSL_ASSIGN_OR_RETURN(const PkeyPtr key, KeyFromPem(key_pem));
  const OpensslErrorScope errors;
  if (!IsP256(key.get()))
    return absl::InvalidArgumentError("protocol key: signed by P-256 keys only");
  const std::string message = SignedBytes(identity, public_key);
  const DigestCtxPtr context(EVP_MD_CTX_new());
  CSL_CHECK(context != nullptr);
  CSL_CHECK(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1);
  std::string signature(kProtocolKeySignatureBytesMax, '\0');
  size_t size = signature.size();
  CSL_CHECK(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                           Bytes(message), message.size()) == 1);
  signature.resize(size);
  return signature;
}

absl::Status VerifyProtocolKey(absl::string_view certificate_pem, absl::string_view ca_pem,
                               absl::Time now, const ProtocolKeyOwner& owner) {
  CSL_RETURN_IF_ERROR(CheckPublicKey(owner.public_key));
  if (owner.signature.empty() || owner.signature.size() > kProtocolKeySignatureBytesMax) {
    return absl::InvalidArgumentError("protocol key: its signature is missing or too long");
  }
  CSL_RETURN_IF_ERROR(VerifyCertificate(certificate_pem, ca_pem, now));
  CSL_ASSIGN_OR_RETURN(const Identity identity, CertificateIdentity(certificate_pem));
  const Identity expected = {std::string(owner.federation), Role::kSite, std::string(owner.site)};
  if (identity != expected) {
    return absl::PermissionDeniedError("protocol key: the certificate is for somebody else");
  }
  CSL_ASSIGN_OR_RETURN(const X509Ptr certificate, CertificateFromPem(certificate_pem));
  const OpensslErrorScope errors;
  EVP_PKEY* const key = X509_get0_pubkey(certificate.get());  // the certificate's
  if (key == nullptr || !IsP256(key)) {
    return absl::InvalidArgumentError("protocol key: the certificate is not for a P-256 key");
  }
  const std::string message = SignedBytes(identity, owner.public_key);
  const DigestCtxPtr context(EVP_MD_CTX_new());
  CSL_CHECK(context != nullptr);
  CSL_CHECK(EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1);
  if (EVP_DigestVerify(context.get(), Bytes(owner.signature), owner.signature.size(),
                       Bytes(message), message.size()) != 1) {
    return absl::PermissionDeniedError("protocol key: not signed by the certificate's key");
  }
  return absl::OkStatus();
}

}  // namespace consilium::privacy
