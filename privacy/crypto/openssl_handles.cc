#include "privacy/crypto/openssl_handles.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace consilium::privacy {

void OpensslDeleter::operator()(asn1_string_st* object) const { ASN1_STRING_free(object); }
void OpensslDeleter::operator()(evp_cipher_ctx_st* object) const { EVP_CIPHER_CTX_free(object); }
void OpensslDeleter::operator()(evp_md_ctx_st* object) const { EVP_MD_CTX_free(object); }
void OpensslDeleter::operator()(evp_pkey_ctx_st* object) const { EVP_PKEY_CTX_free(object); }
void OpensslDeleter::operator()(evp_pkey_st* object) const { EVP_PKEY_free(object); }
void OpensslDeleter::operator()(pkcs8_priv_key_info_st* object) const {
  PKCS8_PRIV_KEY_INFO_free(object);
}
void OpensslDeleter::operator()(stack_st_GENERAL_NAME* object) const { GENERAL_NAMES_free(object); }
void OpensslDeleter::operator()(x509_st* object) const { X509_free(object); }
void OpensslDeleter::operator()(x509_store_ctx_st* object) const { X509_STORE_CTX_free(object); }
void OpensslDeleter::operator()(x509_store_st* object) const { X509_STORE_free(object); }
void OpensslDeleter::operator()(X509_extension_st* object) const { X509_EXTENSION_free(object); }
void OpensslDeleter::operator()(X509_req_st* object) const { X509_REQ_free(object); }

OpensslErrorScope::OpensslErrorScope() { ERR_set_mark(); }
OpensslErrorScope::~OpensslErrorScope() { ERR_pop_to_mark(); }

}  // namespace consilium::privacy
