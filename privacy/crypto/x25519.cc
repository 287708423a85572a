#include "privacy/crypto/x25519.h"

#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/openssl_handles.h"
#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

absl::Status WrongLength() {
  return absl::InvalidArgumentError(absl::StrCat("X25519 key: not ", kX25519KeyBytes, " bytes"));
}

}  // namespace

absl::StatusOr<std::string> X25519PublicKey(absl::string_view private_key) {
  if (private_key.size() != kX25519KeyBytes) return WrongLength();
  const PkeyPtr key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, Bytes(private_key),
                                                 private_key.size()));
  CSL_CHECK(key != nullptr);
  std::string public_key(kX25519KeyBytes, '\0');
  size_t size = public_key.size();
  CSL_CHECK(EVP_PKEY_get_raw_public_key(
                key.get(), reinterpret_cast<unsigned char*>(public_key.data()), &size) == 1 &&
            size == kX25519KeyBytes);
  return public_key;
}

absl::StatusOr<SecretBytes> X25519(absl::string_view private_key, absl::string_view public_key) {
  if (private_key.size() != kX25519KeyBytes || public_key.size() != kX25519KeyBytes) {
    return WrongLength();
  }
  const OpensslErrorScope errors;
  const PkeyPtr own(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, Bytes(private_key),
                                                 private_key.size()));
  const PkeyPtr peer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, Bytes(public_key), public_key.size()));
  CSL_CHECK(own != nullptr && peer != nullptr);
  const PkeyCtxPtr context(EVP_PKEY_CTX_new(own.get(), nullptr));
  CSL_CHECK(context != nullptr && EVP_PKEY_derive_init(context.get()) == 1);
  SecretBytes secret(kX25519KeyBytes);
  size_t size = secret.size();
  const bool derived =
      EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1 &&
      EVP_PKEY_derive(context.get(), reinterpret_cast<unsigned char*>(secret.data()), &size) == 1;
  // OpenSSL looks for the all-zero secret itself; that is not relied upon.
  if (!derived || size != kX25519KeyBytes ||
      SecretsEqual(secret.view(), SecretBytes(kX25519KeyBytes).view())) {
    return absl::InvalidArgumentError("X25519: the public key is a point of low order");
  }
  return secret;
}

}  // namespace consilium::privacy
