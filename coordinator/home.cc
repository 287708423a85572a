#include "coordinator/home.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/home_config.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/hpke.h"
#include "privacy/transparency/note.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kConfigBytesMax = 64 * 1024;
constexpr uint64_t kPemBytesMax = 64 * 1024;
constexpr absl::Duration kClockSkew = absl::Minutes(5);  // between the machines of a federation
constexpr absl::Duration kCaLifetime = absl::Hours(24 * 3650);
constexpr absl::Duration kServerLifetime = absl::Hours(24 * 825);
constexpr absl::Duration kAdminLifetime = absl::Hours(24 * 365);
constexpr const char* kConfigFile = "coordinator.yaml";
constexpr const char* kEndpointFile = "endpoint.json";
constexpr const char* kFirstAdmin = "admin";
constexpr const char* kCoordinatorName = "coordinator";

bool IsIpAddress(const std::string& host) {
  in6_addr ignored;
  return ::inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

// The name under which the server's certificate is checked: the host people connect to where the
// certificate has it, otherwise the first name that it has.
std::string ServerName(const CoordinatorOptions& options) {
  const std::string host = HostOf(AdvertisedAddress(options));
  const auto& hosts = options.hosts;
  return std::find(hosts.begin(), hosts.end(), host) != hosts.end() ? host : hosts.front();
}

struct Leaf {
  privacy::SecretBytes key_pem;
  std::string certificate_pem;
};

absl::StatusOr<std::string> IssueFor(const privacy::SecretBytes& key_pem,
                                     const privacy::KeyAndCertificate& ca,
                                     const privacy::IssueOptions& options) {
  CSL_ASSIGN_OR_RETURN(const std::string csr, privacy::MakeCsrPem(key_pem, options.identity.name));
  return privacy::IssueCertificate(ca, csr, options);
}

absl::StatusOr<Leaf> MakeLeaf(const privacy::KeyAndCertificate& ca,
                              const privacy::IssueOptions& options) {
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, privacy::GenerateKeyPem());
  CSL_ASSIGN_OR_RETURN(std::string certificate, IssueFor(key, ca, options));
  return Leaf{std::move(key), std::move(certificate)};
}

privacy::IssueOptions ServerTerms(const CoordinatorOptions& options, absl::Time not_before) {
  privacy::IssueOptions issue = {
      .identity = {options.federation, privacy::Role::kCoordinator, kCoordinatorName},
      .dns_names = {},
      .ip_addresses = {},
      .not_before = not_before,
      .lifetime = kServerLifetime,
  };
  for (const std::string& host : options.hosts) {
    (IsIpAddress(host) ? issue.ip_addresses : issue.dns_names).push_back(host);
  }
  return issue;
}

privacy::IssueOptions AdminTerms(const CoordinatorOptions& options, absl::string_view name,
                                 absl::Time not_before) {
  return {.identity = {options.federation, privacy::Role::kAdmin, std::string(name)},
          .dns_names = {},
          .ip_addresses = {},
          .not_before = not_before,
          .lifetime = kAdminLifetime};
}

std::string EndpointJson(const CoordinatorOptions& options) {
  const nlohmann::json json = {{"address", AdvertisedAddress(options)},
                               {"federation", options.federation},
                               {"server_name", ServerName(options)}};
  return absl::StrCat(json.dump(2), "\n");
}

absl::Status WriteLeaf(const std::string& folder, absl::string_view name, const Leaf& leaf) {
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, absl::StrCat(name, ".key")),
                                      leaf.key_pem.view(), kPrivateFile));
  return WriteFileAtomic(JoinPath(folder, absl::StrCat(name, ".crt")), leaf.certificate_pem);
}

// Everything but coordinator.yaml, then coordinator.yaml.
absl::Status FillHome(const std::string& home, const CoordinatorOptions& options) {
  const absl::Time not_before = Clock::System().Now() - kClockSkew;
  CSL_ASSIGN_OR_RETURN(const privacy::KeyAndCertificate ca,
                       privacy::MakeRootCa(options.federation, not_before, kCaLifetime));
  CSL_ASSIGN_OR_RETURN(const Leaf server, MakeLeaf(ca, ServerTerms(options, not_before)));
  CSL_ASSIGN_OR_RETURN(const Leaf admin,
                       MakeLeaf(ca, AdminTerms(options, kFirstAdmin, not_before)));
  for (const char* folder : {"ca", "admin", "audit", "store", "chunks", "staging"}) {
    CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(home, folder)));
  }
  const std::string ca_folder = JoinPath(home, "ca");
  const std::string admin_folder = JoinPath(home, "admin");
  CSL_RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(ca_folder, "ca.key"), ca.key_pem.view(), kPrivateFile));
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(ca_folder, "ca.crt"), ca.certificate_pem));
  CSL_RETURN_IF_ERROR(WriteLeaf(home, "server", server));
  CSL_RETURN_IF_ERROR(WriteLeaf(admin_folder, "client", admin));
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(admin_folder, "ca.crt"), ca.certificate_pem));
  CSL_RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(admin_folder, kEndpointFile), EndpointJson(options)));
  const privacy::HpkeKeyPair sealing = privacy::GenerateHpkeKeyPair();
  CSL_RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(home, "sealing.key"), sealing.private_key.view(), kPrivateFile));
  CSL_RETURN_IF_ERROR(privacy::NoteSigner::OpenFile(JoinPath(home, "audit.key"), "audit",
                                                    privacy::kNoteEd25519)
                          .status());
  return WriteFileAtomic(JoinPath(home, kConfigFile), CoordinatorOptionsToYaml(options));
}

absl::StatusOr<std::string> MakeTemporaryFolder(std::string pattern) {
  if (::mkdtemp(pattern.data()) == nullptr) {
    const int error = errno;
    const std::string message =
        absl::StrCat("cannot make a folder there: ", std::generic_category().message(error));
    return error == EACCES || error == EROFS ? absl::PermissionDeniedError(message)
                                             : absl::UnavailableError(message);
  }
  return pattern;
}

// Moves the finished home's entries up into the empty folder that it was built inside of (which may
// be a mount point, so it cannot itself be replaced). coordinator.yaml goes last.
absl::Status MoveUp(const fs::path& from, const fs::path& to) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    names.push_back(entry.path().filename().string());
  }
  std::stable_partition(names.begin(), names.end(),
                        [](const std::string& name) { return name != kConfigFile; });
  std::vector<fs::path> moved;
  for (const std::string& name : names) {
    const absl::Status status = RenameDurably((from / name).string(), (to / name).string());
    if (!status.ok()) {
      std::error_code ignored;
      for (const fs::path& path : moved) fs::remove_all(path, ignored);
      return status;
    }
    moved.push_back(to / name);
  }
  return absl::OkStatus();
}

absl::Status BuildHome(const fs::path& target, const CoordinatorOptions& options) {
  const bool inside = fs::exists(target);
  if (inside) {
    if (fs::exists(target / kConfigFile)) {
      return absl::AlreadyExistsError(
          absl::StrCat(BaseName(target.string()), " already holds a coordinator's home"));
    }
    if (!fs::is_directory(target) || !fs::is_empty(target)) {
      return absl::FailedPreconditionError(
          absl::StrCat(BaseName(target.string()), " is not an empty folder; name a new one"));
    }
  } else {
    CSL_RETURN_IF_ERROR(MakeDirs(target.parent_path().string()));
  }
  CSL_ASSIGN_OR_RETURN(const std::string temporary,
                       MakeTemporaryFolder(inside ? (target / ".init-XXXXXX").string()
                                                  : target.string() + ".init-XXXXXX"));
  const auto remove = absl::MakeCleanup([&temporary] {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  });
  CSL_RETURN_IF_ERROR(FillHome(temporary, options));
  return inside ? MoveUp(temporary, target) : RenameDurably(temporary, target.string());
}

std::string Advertised(const std::string& advertise, const std::string& listen,
                       const CoordinatorOptions& options) {
  if (!advertise.empty()) return advertise;
  const std::string host = HostOf(listen);
  const bool every_interface = host == "0.0.0.0" || host == "::";
  if (!every_interface || options.hosts.empty()) return listen;
  const std::string& name = options.hosts.front();
  const std::string port = listen.substr(listen.rfind(':'));
  return absl::StrContains(name, ':') ? absl::StrCat("[", name, "]", port)
                                      : absl::StrCat(name, port);
}

}  // namespace

std::string AdvertisedAddress(const CoordinatorOptions& options) {
  return Advertised(options.advertise, options.listen, options);
}

std::string AdvertisedEnrolmentAddress(const CoordinatorOptions& options) {
  return Advertised(options.enrolment_advertise, options.enrolment_listen, options);
}

absl::Status InitHome(const std::string& dir, const CoordinatorOptions& options) {
  CSL_RETURN_IF_ERROR(CheckCoordinatorOptions(options));
  if (dir.empty()) return absl::InvalidArgumentError("name the folder of the new home");
  try {
    fs::path target = fs::absolute(dir).lexically_normal();
    if (!target.has_filename()) target = target.parent_path();  // a trailing slash
    return BuildHome(target, options);
  } catch (const fs::filesystem_error& error) {
    return absl::UnavailableError(absl::StrCat("cannot make the home: ", error.code().message()));
  }
}

absl::StatusOr<privacy::KeyAndCertificate> ReadCa(const std::string& ca_folder) {
  privacy::KeyAndCertificate ca;
  CSL_ASSIGN_OR_RETURN(ca.certificate_pem, ReadFile(JoinPath(ca_folder, "ca.crt"), kPemBytesMax));
  absl::StatusOr<std::string> key = ReadFile(JoinPath(ca_folder, "ca.key"), kPemBytesMax);
  if (absl::IsNotFound(key.status())) {
    return absl::FailedPreconditionError(
        "the federation's CA key is offline; the coordinator's administrator has to bring it back "
        "to issue certificates");
  }
  CSL_RETURN_IF_ERROR(key.status());
  ca.key_pem = privacy::SecretBytes(*key);
  std::fill(key->begin(), key->end(), '\0');
  return ca;
}

absl::Status RenewHome(const std::string& dir, const Clock& clock) {
  CSL_ASSIGN_OR_RETURN(const CoordinatorOptions options, ReadCoordinatorOptions(dir));
  CSL_ASSIGN_OR_RETURN(const privacy::KeyAndCertificate ca, ReadCa(JoinPath(dir, "ca")));
  const absl::Time not_before = clock.Now() - kClockSkew;
  const auto renew = [&](const std::string& path, const privacy::IssueOptions& terms) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(std::string key, ReadFile(absl::StrCat(path, ".key"), kPemBytesMax));
    const privacy::SecretBytes secret(key);
    std::fill(key.begin(), key.end(), '\0');
    CSL_ASSIGN_OR_RETURN(const std::string certificate, IssueFor(secret, ca, terms));
    return WriteFileAtomic(absl::StrCat(path, ".crt"), certificate);
  };
  CSL_RETURN_IF_ERROR(renew(JoinPath(dir, "server"), ServerTerms(options, not_before)));
  const std::string admin = JoinPath(dir, "admin/client");
  if (!PathExists(absl::StrCat(admin, ".key"))) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const std::string before,
                       ReadFile(absl::StrCat(admin, ".crt"), kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity who, privacy::CertificateIdentity(before));
  return renew(admin, AdminTerms(options, who.name, not_before));
}

absl::StatusOr<CoordinatorOptions> ReadCoordinatorOptions(const std::string& dir) {
  absl::StatusOr<std::string> text = ReadFile(JoinPath(dir, kConfigFile), kConfigBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat(BaseName(dir), " is no coordinator's home (it has no ",
                                            kConfigFile, "); make one with `consilium init`"));
  }
  if (!text.ok()) return text.status();
  absl::StatusOr<CoordinatorOptions> options = CoordinatorOptionsFromYaml(*text);
  if (!options.ok()) return Annotate(options.status(), kConfigFile);
  return options;
}

absl::StatusOr<AdminEndpoint> ReadAdminEndpoint(const std::string& credentials_dir) {
  absl::StatusOr<std::string> text =
      ReadFile(JoinPath(credentials_dir, kEndpointFile), kConfigBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(BaseName(credentials_dir), " holds no credentials (no ", kEndpointFile,
                     "); name the folder with --credentials, or the home with --home"));
  }
  if (!text.ok()) return text.status();
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto field = [&json](const char* key) -> std::string {
    if (!json.is_object()) return "";
    const auto it = json.find(key);
    return it != json.end() && it->is_string() ? it->get<std::string>() : "";
  };
  AdminEndpoint endpoint = {field("federation"), field("address"), field("server_name")};
  if (endpoint.federation.empty() || endpoint.server_name.empty() ||
      HostOf(endpoint.address).empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        kEndpointFile, ": needs \"federation\", \"address\" (host:port) and \"server_name\""));
  }
  return endpoint;
}

}  // namespace consilium::coordinator
