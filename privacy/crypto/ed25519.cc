#include "privacy/crypto/ed25519.h"

#include <openssl/evp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/pem.h"
#include "privacy/crypto/random.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

absl::StatusOr<Ed25519Key> Ed25519Key::FromHandle(PkeyPtr key) {
  if (EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) {
    return absl::InvalidArgumentError("key: not an Ed25519 key");
  }
  std::string public_key(kEd25519PublicKeyBytes, '\0');
  size_t size = public_key.size();
  CSL_CHECK(EVP_PKEY_get_raw_public_key(
                key.get(), reinterpret_cast<unsigned char*>(public_key.data()), &size) == 1);
  CSL_CHECK(size == kEd25519PublicKeyBytes);
  return Ed25519Key(std::move(key), std::move(public_key));
}

absl::StatusOr<Ed25519Key> Ed25519Key::FromSeed(const SecretBytes& seed) {
  if (seed.size() != kEd25519SeedBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("Ed25519 seed: ", seed.size(), " bytes, not ", kEd25519SeedBytes));
  }
  const OpensslErrorScope errors;
  PkeyPtr key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Bytes(seed.view()),
                                           seed.size()));
  CSL_CHECK(key != nullptr);
  return FromHandle(std::move(key));
}

Ed25519Key Ed25519Key::Generate() {
  absl::StatusOr<Ed25519Key> key = FromSeed(RandomSecret(kEd25519SeedBytes));
  CSL_CHECK(key.ok());
  return *std::move(key);
}

absl::StatusOr<Ed25519Key> Ed25519Key::FromPem(const SecretBytes& pem) {
  CSL_ASSIGN_OR_RETURN(PkeyPtr key, KeyFromPem(pem));
  return FromHandle(std::move(key));
}

SecretBytes Ed25519Key::ToPem() const { return KeyToPem(key_.get()); }

std::string Ed25519Key::Sign(absl::string_view message) const {
  const OpensslErrorScope errors;
  const DigestCtxPtr context(EVP_MD_CTX_new());
  CSL_CHECK(context != nullptr);
  CSL_CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
  std::string signature(kEd25519SignatureBytes, '\0');
  size_t size = signature.size();
  CSL_CHECK(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                           Bytes(message), message.size()) == 1);
  CSL_CHECK(size == kEd25519SignatureBytes);
  return signature;
}

absl::Status Ed25519Verify(absl::string_view public_key, absl::string_view message,
                           absl::string_view signature) {
  if (public_key.size() != kEd25519PublicKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat("Ed25519 public key: ", public_key.size(),
                                                   " bytes, not ", kEd25519PublicKeyBytes));
  }
  if (signature.size() != kEd25519SignatureBytes) {
    return absl::InvalidArgumentError(absl::StrCat("Ed25519 signature: ", signature.size(),
                                                   " bytes, not ", kEd25519SignatureBytes));
  }
  const OpensslErrorScope errors;
  const PkeyPtr key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Bytes(public_key),
                                                public_key.size()));
  const DigestCtxPtr context(EVP_MD_CTX_new());
  CSL_CHECK(key != nullptr && context != nullptr);
  CSL_CHECK(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1);
  if (EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message),
                       message.size()) != 1) {
    return absl::PermissionDeniedError("the signature does not verify");
  }
  return absl::OkStatus();
}

}  // namespace consilium::privacy
