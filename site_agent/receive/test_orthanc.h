// An Orthanc with Debian's DICOMweb plugin, for the tests.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_TEST_ORTHANC_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_TEST_ORTHANC_H_

#include <memory>
#include <string>
#include <vector>

#include "site_agent/receive/test_peer.h"

namespace consilium::agent {

// Whether this machine has Orthanc, its DICOMweb plugin and curl.
bool HasOrthancWeb();

class OrthancWeb {
 public:
  // Without TLS: Debian's Orthanc 1.10.1 dies of the first byte of a handshake. kLogin: who asks
  // has to be `user` with the password `a-password-of-16`.
  enum class Access { kOpen, kLogin };
  // Whom it knows as the DICOMweb server "site", with the client's certificate of
  // WriteCertificates(tls_folder).
  struct Site {
    std::string url;
    std::string tls_folder;
  };
  OrthancWeb(const std::string& folder, Access access, const Site& site = {});
  std::string root() const;  // of DICOMweb
  // As the file lies on the disk. Whether it was taken.
  bool Store(const std::string& file) const;
  // Sends all it has to "site" by STOW-RS. The exit code is 0 when "site" has taken it.
  ProgramResult StowAll() const;

 private:
  ProgramResult Ask(const std::string& path, const std::vector<std::string>& more) const;
  int port_;
  std::unique_ptr<BackgroundProgram> program_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_TEST_ORTHANC_H_
