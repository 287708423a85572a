#include "privacy/crypto/tls_context.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>

#include "privacy/crypto/openssl_handles.h"

namespace consilium::privacy {
namespace {

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

std::unique_ptr<BIO, BioDeleter> Memory(absl::string_view text) {
  return std::unique_ptr<BIO, BioDeleter>(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

void DemandBcp195(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!PSK");
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
}

absl::Status SetRoots(SSL_CTX* context, const std::string& ca_pem) {
  const OpensslErrorScope errors;
  const auto bio = Memory(ca_pem);
  int count = 0;
  while (X509* raw = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    const X509Ptr certificate(raw);
    count += X509_STORE_add_cert(SSL_CTX_get_cert_store(context), raw);
  }
  if (count == 0) return absl::InvalidArgumentError("the peer's roots hold no certificate");
  return absl::OkStatus();
}

absl::Status SetIdentity(SSL_CTX* context, absl::string_view certificate_pem,
                         const SecretBytes& key_pem) {
  const OpensslErrorScope errors;
  const auto certificate = Memory(certificate_pem);
  const X509Ptr leaf(PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
  if (leaf == nullptr || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return absl::InvalidArgumentError("our certificate for the peer does not read");
  }
  while (X509* chain = PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr)) {
    if (SSL_CTX_add_extra_chain_cert(context, chain) != 1) X509_free(chain);  // takes it otherwise
  }
  const auto key_text = Memory(key_pem.view());
  // No password is ever asked for on a terminal.
  const auto no_password = [](char*, int, int, void*) { return 0; };
  const PkeyPtr key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, no_password, nullptr));
  if (key == nullptr || SSL_CTX_use_PrivateKey(context, key.get()) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return absl::InvalidArgumentError("our key for the peer does not fit its certificate");
  }
  return absl::OkStatus();
}

void DemandServerName(SSL_CTX* context, const std::string& host) {
  const OpensslErrorScope errors;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  X509_VERIFY_PARAM* wanted = SSL_CTX_get0_param(context);
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) == 1) return;
  X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  X509_VERIFY_PARAM_set1_host(wanted, host.c_str(), host.size());
}

std::string VerificationWords(long result) { return X509_verify_cert_error_string(result); }

bool CertificateNames(absl::string_view certificate_der, const std::string& host) {
  const OpensslErrorScope errors;
  const auto* bytes = reinterpret_cast<const unsigned char*>(certificate_der.data());
  const X509Ptr certificate(d2i_X509(nullptr, &bytes, static_cast<long>(certificate_der.size())));
  if (certificate == nullptr) return false;
  return X509_check_ip_asc(certificate.get(), host.c_str(), 0) == 1 ||
         X509_check_host(certificate.get(), host.c_str(), host.size(),
                         X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

}  // namespace consilium::privacy
