// Certificates of a federation that a test makes, and a coordinator's two services in-process over
// real TLS, as far as the uplink needs them.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_TEST_FEDERATION_H_
#define CONSILIUM_SITE_AGENT_UPLINK_TEST_FEDERATION_H_

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"
#include "proto/wire/transport.h"

namespace consilium::agent {

class TestFederation {
 public:
  TestFederation()
      : now_(absl::Now()),
        ca_(*privacy::MakeRootCa("testfed", now_ - absl::Hours(1), absl::Hours(48))) {}

  const std::string& ca_pem() const { return ca_.certificate_pem; }
  absl::Time now() const { return now_; }

  std::string Issue(const std::string& csr_pem, privacy::Role role, const std::string& name) const {
    return Issue(csr_pem, role, name, now_ - absl::Minutes(5), absl::Hours(24));
  }
  std::string Issue(const std::string& csr_pem, privacy::Role role, const std::string& name,
                    absl::Time not_before, absl::Duration lifetime) const {
    privacy::IssueOptions options;
    options.identity = {"testfed", role, name};
    if (role == privacy::Role::kCoordinator) {
      options.dns_names = {"localhost"};
      options.ip_addresses = {"127.0.0.1"};
    }
    options.not_before = not_before;
    options.lifetime = lifetime;
    return *privacy::IssueCertificate(ca_, csr_pem, options);
  }

  wire::TlsFiles Tls(privacy::Role role, const std::string& name) const {
    const privacy::SecretBytes key = *privacy::GenerateKeyPem();
    return {ca_pem(), Issue(*privacy::MakeCsrPem(key, name), role, name), std::string(key.view())};
  }

  // Serves on a free port of this machine, or on `port`.
  std::unique_ptr<grpc::Server> Serve(grpc::Service& service, wire::PeerCertificate peer,
                                      int& port) const {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port),
                             wire::ServerTls(Tls(privacy::Role::kCoordinator, "main"), peer),
                             &port);
    builder.SetMaxReceiveMessageSize(wire::kMessageBytesMax);
    builder.RegisterService(&service);
    return builder.BuildAndStart();
  }

 private:
  absl::Time now_;
  privacy::KeyAndCertificate ca_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_TEST_FEDERATION_H_
