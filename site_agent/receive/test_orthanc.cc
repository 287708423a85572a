#include "site_agent/receive/test_orthanc.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

constexpr const char* kPlugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";
constexpr const char* kLogin = "user:a-password-of-16";

}  // namespace

bool HasOrthancWeb() { return HasProgram("Orthanc") && HasProgram("curl") && PathExists(kPlugin); }

OrthancWeb::OrthancWeb(const std::string& folder, Access access, const Site& site)
    : port_(FreePort()) {
  nlohmann::json config = {{"Name", "test"},
                           {"StorageDirectory", folder + "/db"},
                           {"IndexDirectory", folder + "/db"},
                           {"RemoteAccessAllowed", false},
                           {"AuthenticationEnabled", access == Access::kLogin},
                           {"RegisteredUsers", {{"user", "a-password-of-16"}}},
                           {"DicomServerEnabled", false},
                           {"HttpServerEnabled", true},
                           {"HttpPort", port_},
                           {"Plugins", {kPlugin}},
                           {"DicomWeb", {{"Enable", true}, {"Root", "/dicom-web/"}}}};
  if (!site.url.empty()) {
    config["HttpsVerifyPeers"] = true;
    config["HttpsCACertificates"] = JoinPath(site.tls_folder, "ca.crt");
    config["DicomWeb"]["Servers"]["site"] = {
        {"Url", site.url},
        {"CertificateFile", JoinPath(site.tls_folder, "client.crt")},
        {"CertificateKeyFile", JoinPath(site.tls_folder, "client.key")},
        {"CertificateKeyPassword", ""}};
  }
  (void)MakeDirs(folder);
  const std::string path = JoinPath(folder, "orthanc.json");
  (void)WriteFileAtomic(path, config.dump());
  program_ = std::make_unique<BackgroundProgram>(std::vector<std::string>{"Orthanc", path});
  (void)WaitForPort(port_);
}

std::string OrthancWeb::root() const {
  return absl::StrCat("http://127.0.0.1:", port_, "/dicom-web");
}

ProgramResult OrthancWeb::Ask(const std::string& path, const std::vector<std::string>& more) const {
  std::vector<std::string> command = {"curl", "-sS", "--fail", "-u", kLogin};
  command.insert(command.end(), more.begin(), more.end());
  command.push_back(absl::StrCat("http://127.0.0.1:", port_, path));
  return RunProgram(command);
}

bool OrthancWeb::Store(const std::string& file) const {
  return Ask("/instances", {"-H", "Expect:", "--data-binary", "@" + file}).exit_code == 0;
}

ProgramResult OrthancWeb::StowAll() const {
  const ProgramResult all = Ask("/studies", {});
  if (all.exit_code != 0) return all;
  const nlohmann::json ask = {{"Resources", nlohmann::json::parse(all.output)},
                              {"Synchronous", true}};
  return Ask("/dicom-web/servers/site/stow", {"--data", ask.dump()});
}

}  // namespace consilium::agent
