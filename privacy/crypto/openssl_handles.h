// Owners of OpenSSL objects, internal to privacy/crypto. Declares the objects without OpenSSL's
// headers, so that only the .cc files here include those.
//
// A deleter may be given a null pointer. Thread-safety is that of the object owned.
#ifndef CONSILIUM_PRIVACY_CRYPTO_OPENSSL_HANDLES_H_
#define CONSILIUM_PRIVACY_CRYPTO_OPENSSL_HANDLES_H_

#include <memory>

struct asn1_string_st;
struct evp_cipher_ctx_st;
struct evp_md_ctx_st;
struct evp_pkey_ctx_st;
struct evp_pkey_st;
struct pkcs8_priv_key_info_st;
struct stack_st_GENERAL_NAME;
struct x509_st;
struct x509_store_ctx_st;
struct x509_store_st;
struct X509_extension_st;
struct X509_req_st;

namespace consilium::privacy {

struct OpensslDeleter {
  void operator()(asn1_string_st* object) const;
  void operator()(evp_cipher_ctx_st* object) const;
  void operator()(evp_md_ctx_st* object) const;
  void operator()(evp_pkey_ctx_st* object) const;
  void operator()(evp_pkey_st* object) const;
  void operator()(pkcs8_priv_key_info_st* object) const;
  void operator()(stack_st_GENERAL_NAME* object) const;
  void operator()(x509_st* object) const;
  void operator()(x509_store_ctx_st* object) const;
  void operator()(x509_store_st* object) const;
  void operator()(X509_extension_st* object) const;
  void operator()(X509_req_st* object) const;
};

template <typename T>
using OpensslPtr = std::unique_ptr<T, OpensslDeleter>;

using AsnStringPtr = OpensslPtr<asn1_string_st>;
using CipherCtxPtr = OpensslPtr<evp_cipher_ctx_st>;
using DigestCtxPtr = OpensslPtr<evp_md_ctx_st>;
using PkeyCtxPtr = OpensslPtr<evp_pkey_ctx_st>;
using PkeyPtr = OpensslPtr<evp_pkey_st>;
using Pkcs8Ptr = OpensslPtr<pkcs8_priv_key_info_st>;
using GeneralNamesPtr = OpensslPtr<stack_st_GENERAL_NAME>;
using X509Ptr = OpensslPtr<x509_st>;
using X509StoreCtxPtr = OpensslPtr<x509_store_ctx_st>;
using X509StorePtr = OpensslPtr<x509_store_st>;
using X509ExtensionPtr = OpensslPtr<X509_extension_st>;
using X509RequestPtr = OpensslPtr<X509_req_st>;

// Drops what OpenSSL adds to this thread's error queue during its life. A stale entry there would
// make the next TLS call of gRPC on the same thread look like a failure.
class OpensslErrorScope {
 public:
  OpensslErrorScope();
  ~OpensslErrorScope();
  OpensslErrorScope(const OpensslErrorScope&) = delete;
  OpensslErrorScope& operator=(const OpensslErrorScope&) = delete;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_OPENSSL_HANDLES_H_
