#include "coordinator/home_config.h"

#include <cstdint>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "yaml-cpp/yaml.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kSiteCertificateDaysMax = 825;
constexpr size_t kHostsMax = 32;
constexpr size_t kHostBytesMax = 253;  // RFC 1035

bool IsHost(absl::string_view host) {
  if (host.empty() || host.size() > kHostBytesMax) return false;
  for (const char c : host) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '-' || c == ':';
    if (!ok) return false;
  }
  return true;
}

absl::Status CheckAddress(absl::string_view key, absl::string_view address) {
  if (!HostOf(address).empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, ": must be HOST:PORT, such as 127.0.0.1:7443 or [::]:7443"));
}

absl::Status AtLine(const YAML::Node& node, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("line ", node.Mark().line + 1, ": ", message));
}

absl::Status ReadText(const YAML::Node& node, absl::string_view key, std::string& out) {
  if (!node.IsScalar()) return AtLine(node, absl::StrCat(key, ": must be a text"));
  out = node.Scalar();
  return absl::OkStatus();
}

template <typename Integer>
absl::Status ReadInteger(const YAML::Node& node, absl::string_view key, Integer& out) {
  if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), &out)) {
    return AtLine(node, absl::StrCat(key, ": must be a whole number"));
  }
  return absl::OkStatus();
}

absl::Status ReadHosts(const YAML::Node& node, std::vector<std::string>& out) {
  if (!node.IsSequence()) return AtLine(node, "hosts: must be a list of names");
  out.clear();
  for (const YAML::Node& item : node) {
    CSL_RETURN_IF_ERROR(ReadText(item, "hosts", out.emplace_back()));
  }
  return absl::OkStatus();
}

absl::Status ReadKey(const std::string& key, const YAML::Node& value, CoordinatorOptions& options) {
  if (key == "federation") return ReadText(value, key, options.federation);
  if (key == "listen") return ReadText(value, key, options.listen);
  if (key == "enrolment_listen") return ReadText(value, key, options.enrolment_listen);
  if (key == "hosts") return ReadHosts(value, options.hosts);
  if (key == "advertise") return ReadText(value, key, options.advertise);
  if (key == "enrolment_advertise") return ReadText(value, key, options.enrolment_advertise);
  if (key == "site_certificate_days") {
    return ReadInteger(value, key, options.site_certificate_days);
  }
  if (key == "upload_bytes_max") return ReadInteger(value, key, options.upload_bytes_max);
  if (key == "http_listen") return ReadText(value, key, options.http_listen);
  if (key == "uploads_in_flight_bytes_max") {
    return ReadInteger(value, key, options.uploads_in_flight_bytes_max);
  }
  if (key == "atna_repository") return ReadText(value, key, options.atna_repository);
  if (key == "atna_ca") return ReadText(value, key, options.atna_ca);
  if (key == "atna_certificate") return ReadText(value, key, options.atna_certificate);
  if (key == "atna_key") return ReadText(value, key, options.atna_key);
  if (key == "disk_floor_bytes") return ReadInteger(value, key, options.disk_floor_bytes);
  if (key == "checkpoint_file") return ReadText(value, key, options.checkpoint_file);
  if (key == "retention_versions") return ReadInteger(value, key, options.retention_versions);
  return AtLine(value, absl::StrCat("unknown key ", key));
}

absl::StatusOr<CoordinatorOptions> FromNode(const YAML::Node& root) {
  if (!root.IsMap()) return absl::InvalidArgumentError("must be a list of `key: value` lines");
  CoordinatorOptions options;
  std::set<std::string> seen;
  for (const auto& entry : root) {
    std::string key;
    CSL_RETURN_IF_ERROR(ReadText(entry.first, "a key", key));
    if (!seen.insert(key).second) {
      return AtLine(entry.first, absl::StrCat("key ", key, " is given twice"));
    }
    CSL_RETURN_IF_ERROR(ReadKey(key, entry.second, options));
  }
  CSL_RETURN_IF_ERROR(CheckCoordinatorOptions(options));
  return options;
}

}  // namespace

std::string HostOf(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) return "";
  uint32_t port = 0;
  const absl::string_view digits = address.substr(colon + 1);
  const bool plain = digits.find_first_not_of("0123456789") == absl::string_view::npos;
  if (!plain || !absl::SimpleAtoi(digits, &port) || port > 65535) return "";
  absl::string_view host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ':')) {
    return "";
  }
  return IsHost(host) ? std::string(host) : "";
}

absl::Status CheckCoordinatorOptions(const CoordinatorOptions& options) {
  CSL_RETURN_IF_ERROR(CheckName("federation", options.federation));
  CSL_RETURN_IF_ERROR(CheckAddress("listen", options.listen));
  CSL_RETURN_IF_ERROR(CheckAddress("enrolment_listen", options.enrolment_listen));
  if (!options.advertise.empty()) {
    CSL_RETURN_IF_ERROR(CheckAddress("advertise", options.advertise));
  }
  if (!options.enrolment_advertise.empty()) {
    CSL_RETURN_IF_ERROR(CheckAddress("enrolment_advertise", options.enrolment_advertise));
  }
  if (!options.http_listen.empty()) {
    CSL_RETURN_IF_ERROR(CheckAddress("http_listen", options.http_listen));
  }
  if (!options.atna_repository.empty()) {
    CSL_RETURN_IF_ERROR(CheckAddress("atna_repository", options.atna_repository));
  }
  if (options.hosts.empty() || options.hosts.size() > kHostsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("hosts: 1 to ", kHostsMax, " names or addresses"));
  }
  for (const std::string& host : options.hosts) {
    if (!IsHost(host)) {
      return absl::InvalidArgumentError("hosts: each a host name or an IP address");
    }
  }
  if (options.site_certificate_days < 1 ||
      options.site_certificate_days > kSiteCertificateDaysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("site_certificate_days: 1 to ", kSiteCertificateDaysMax));
  }
  if (!options.checkpoint_file.empty() && options.checkpoint_file.front() != '/') {
    return absl::InvalidArgumentError("checkpoint_file: must be an absolute path, or empty");
  }
  if (options.uploads_in_flight_bytes_max == 0) {
    return absl::InvalidArgumentError("uploads_in_flight_bytes_max: must be more than 0");
  }
  if (options.retention_versions < 0) {
    return absl::InvalidArgumentError("retention_versions: 0 (all) or more");
  }
  if (options.upload_bytes_max == 0) {
    return absl::InvalidArgumentError("upload_bytes_max: must be more than 0");
  }
  return absl::OkStatus();
}

std::string CoordinatorOptionsToYaml(const CoordinatorOptions& options) {
  YAML::Emitter out;
  const auto pair = [&out](const char* key, const auto& value, const char* comment) {
    out << YAML::Key << key << YAML::Value << value << YAML::Comment(comment);
  };
  const auto text = [&out](const char* key, const std::string& value, const char* comment) {
    out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value << YAML::Comment(comment);
  };
  out << YAML::Comment("Configuration of consilium-coordinator. Unknown keys are errors.")
      << YAML::Newline << YAML::BeginMap;
  text("federation", options.federation, "part of every identity; never changes");
  text("listen", options.listen, "sites and administrators, mutual TLS 1.3");
  text("enrolment_listen", options.enrolment_listen, "sites that join with an invitation");
  out << YAML::Key << "hosts" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const std::string& host : options.hosts) out << YAML::DoubleQuoted << host;
  out << YAML::EndSeq << YAML::Comment("names in the server certificate");
  text("advertise", options.advertise, "host:port sites connect to; empty: as listen");
  text("enrolment_advertise", options.enrolment_advertise, "empty: as enrolment_listen");
  pair("site_certificate_days", options.site_certificate_days,
       "how long a site's certificate lasts");
  pair("upload_bytes_max", options.upload_bytes_max, "largest update that is accepted");
  pair("uploads_in_flight_bytes_max", options.uploads_in_flight_bytes_max,
       "of updates that are on their way at the same time; the others wait at their sites");
  text("http_listen", options.http_listen,
       "metrics and health, plain HTTP: loopback or administrators only; empty: off");
  pair("disk_floor_bytes", options.disk_floor_bytes,
       "less free space: not ready, no training and no upload begins; 0: off");
  text("checkpoint_file", options.checkpoint_file,
       "the audit log's newest checkpoint, best on another disk; empty: HOME/audit/checkpoint");
  pair("retention_versions", options.retention_versions,
       "newest of each study whose weights are kept, besides those an alias or release names; 0: all");
  text("atna_repository", options.atna_repository,
       "host:port of an audit repository (IHE ATNA, syslog over TLS); empty: none");
  text("atna_ca", options.atna_ca, "who signs the repository's certificate");
  text("atna_certificate", options.atna_certificate, "our certificate to it");
  text("atna_key", options.atna_key, "its key");
  out << YAML::EndMap << YAML::Newline;
  return out.c_str();
}

absl::StatusOr<CoordinatorOptions> CoordinatorOptionsFromYaml(const std::string& text) {
  try {
    return FromNode(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
}

}  // namespace consilium::coordinator
