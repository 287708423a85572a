// Certificates for the tests of both ends of HTTP.
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_TEST_CERTIFICATES_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_TEST_CERTIFICATES_H_

#include <string>

#include "absl/time/time.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"

namespace consilium::dicomweb {

// FOLDER/ca.crt, server.crt and .key for the address 127.0.0.1, elsewhere.crt and .key for another,
// client.crt and .key; all from one CA. stranger-ca.crt is another.
inline void WriteCertificates(const std::string& folder) {
  using namespace privacy;
  const absl::Time now = Clock::System().Now() - absl::Hours(1);
  const KeyAndCertificate ca = MakeRootCa("test", now, absl::Hours(24)).value();
  const auto write = [&](const std::string& name, absl::string_view text) {
    (void)WriteFileAtomic(JoinPath(folder, name), text, kPrivateFile);
  };
  const auto issue = [&](const std::string& name, Role role, const std::string& address) {
    const SecretBytes key = GenerateKeyPem().value();
    IssueOptions options{{"test", role, name}, {}, {}, now, absl::Hours(12)};
    if (!address.empty()) options.ip_addresses = {address};
    write(name + ".crt", IssueCertificate(ca, MakeCsrPem(key, name).value(), options).value());
    write(name + ".key", key.view());
  };
  write("ca.crt", ca.certificate_pem);
  write("stranger-ca.crt", MakeRootCa("other", now, absl::Hours(24)).value().certificate_pem);
  issue("server", Role::kCoordinator, "127.0.0.1");
  issue("elsewhere", Role::kCoordinator, "192.0.2.1");
  issue("client", Role::kSite, "");
}

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_TEST_CERTIFICATES_H_
