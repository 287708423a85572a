#include "site_agent/receive/dicom_config.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "proto/yaml/strict_yaml.h"
#include "site_agent/dicomweb/web_client.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kFileBytesMax = 256 * 1024;
constexpr size_t kPeersMax = 256;
constexpr size_t kFoldersMax = 16;
constexpr int64_t kAssociationsMax = 64;
constexpr int64_t kAttemptsMax = 20;
constexpr int64_t kStudiesPerHourMax = 100'000;
constexpr uint64_t kObjectBytesMin = uint64_t{1} << 20;

struct DicomDocument {
  static constexpr const char* kName = "dicom.yaml";
  static constexpr const char* kNeededBy = "write it";
};
using Reader = StrictYaml<DicomDocument>;

absl::Status ReadAeTitle(const YAML::Node& node, const std::string& path, std::string& out) {
  if (!Reader::Read(node, out) || !IsAeTitle(out)) {
    return Reader::Refuse(node, path, "must be an AE title: 1 to 16 characters, no backslash");
  }
  return absl::OkStatus();
}

auto AeTitle(std::string& out) {
  return [&out](const YAML::Node& node, const std::string& path) {
    return ReadAeTitle(node, path, out);
  };
}

template <typename T>
auto Whole(int64_t low, int64_t high, T& out) {
  return [low, high, &out](const YAML::Node& node, const std::string& path) {
    int64_t value = 0;
    if (!Reader::Read(node, value) || value < low || value > high) {
      return Reader::Refuse(node, path,
                            absl::StrCat("must be a whole number, ", low, " to ", high));
    }
    out = static_cast<T>(value);
    return absl::OkStatus();
  };
}

bool IsHost(absl::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') return false;
  }
  return true;
}

absl::Status ReadMethod(const YAML::Node& node, const std::string& path, RetrieveMethod& out) {
  std::string text;
  if (!Reader::Read(node, text) || (text != "get" && text != "move" && text != "web")) {
    return Reader::Refuse(node, path, "must be get (C-GET), move (C-MOVE) or web (DICOMweb)");
  }
  out = text == "get"    ? RetrieveMethod::kGet
        : text == "move" ? RetrieveMethod::kMove
                         : RetrieveMethod::kWeb;
  return absl::OkStatus();
}

absl::Status ReadHours(const YAML::Node& node, const std::string& path, TrainingHours& out) {
  std::string text;
  if (!Reader::Read(node, text)) return Reader::Refuse(node, path, "must be like 20:00-06:00");
  const absl::StatusOr<HourWindow> window = ParseHourWindow(text);
  if (!window.ok()) return Reader::Refuse(node, path, window.status().message());
  out.windows = {*window};
  return absl::OkStatus();
}

absl::Status ReadWebRoot(const YAML::Node& node, const std::string& path, std::string& out) {
  if (!Reader::Read(node, out)) return Reader::Refuse(node, path, "must be a URL");
  const auto root = dicomweb::ParseWebRoot(out);
  return root.ok() ? absl::OkStatus() : Reader::Refuse(node, path, root.status().message());
}

// What the keys of a peer have to do with each other.
absl::Status CheckPeer(const YAML::Node& node, const std::string& path, const DicomPeer& peer) {
  if (peer.host.empty() && peer.web_root.empty()) {
    return Reader::Refuse(node, path + ".host", "is missing; a peer needs it, or a web_root");
  }
  if (peer.port != 0 && peer.ae_title.empty()) {
    return Reader::Refuse(node, path + ".ae_title", "is needed to call the port");
  }
  if (peer.method == RetrieveMethod::kWeb && peer.web_root.empty()) {
    return Reader::Refuse(node, path + ".web_root", "is needed by method: web");
  }
  if (peer.web_credentials && !absl::StartsWith(peer.web_root, "https://")) {
    return Reader::Refuse(node, path + ".web_root",
                          "must be https: a token or a login would be read by others");
  }
  return absl::OkStatus();
}

absl::Status ReadPeer(const YAML::Node& node, const std::string& path, DicomPeer& peer) {
  Reader reader(node, path);
  reader.GetWith("ae_title", AeTitle(peer.ae_title));
  reader.GetWith("host", [&](const YAML::Node& value, const std::string& where) {
    if (!Reader::Read(value, peer.host) || !IsHost(peer.host)) {
      return Reader::Refuse(value, where, "must be a host name or an IPv4 address");
    }
    return absl::OkStatus();
  });
  reader.GetWith("port", Whole(1, 65535, peer.port));
  reader.Get("tls", peer.tls);
  reader.Get("may_send", peer.may_send);
  reader.GetWith("method", [&](const YAML::Node& value, const std::string& where) {
    return ReadMethod(value, where, peer.method);
  });
  reader.GetWith("studies_per_hour", Whole(0, kStudiesPerHourMax, peer.studies_per_hour));
  reader.GetWith("attempts", Whole(1, kAttemptsMax, peer.attempts));
  reader.GetWith("hours", [&](const YAML::Node& value, const std::string& where) {
    return ReadHours(value, where, peer.hours);
  });
  reader.GetWith("web_root", [&](const YAML::Node& value, const std::string& where) {
    return ReadWebRoot(value, where, peer.web_root);
  });
  for (const auto& [key, kind] : {std::pair{"web_token", WebCredentials::Kind::kToken},
                                  std::pair{"web_login", WebCredentials::Kind::kLogin}}) {
    std::string file;
    if (!reader.Get(key, file)) continue;
    if (peer.web_credentials) {
      return Reader::Refuse(node, reader.Path(key), "cannot be there beside web_token");
    }
    peer.web_credentials = WebCredentials{kind, file};
  }
  CSL_RETURN_IF_ERROR(reader.Finish());
  if (peer.host.empty()) peer.may_send = false;
  return CheckPeer(node, path, peer);
}

absl::Status ReadPeers(const YAML::Node& node, const std::string& path,
                       std::vector<DicomPeer>& peers) {
  if (!node.IsMap() || node.size() > kPeersMax) {
    return Reader::Refuse(node, path, "must be a mapping of at most 256 names to peers");
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    DicomPeer peer;
    if (!Reader::Read(entry.first, peer.name) || !CheckName("peer", peer.name).ok()) {
      return Reader::Refuse(entry.first, path, "a peer's name is of a-z, 0-9 and -");
    }
    if (!seen.insert(peer.name).second) {
      return Reader::Refuse(entry.first, path, absl::StrCat("has ", peer.name, " twice"));
    }
    CSL_RETURN_IF_ERROR(ReadPeer(entry.second, absl::StrCat(path, ".", peer.name), peer));
    peers.push_back(std::move(peer));
  }
  return absl::OkStatus();
}

absl::Status ReadListen(const YAML::Node& node, const std::string& path, DicomListen& listen) {
  Reader reader(node, path);
  reader.Get("address", listen.address);
  reader.GetWith("port", Whole(0, 65535, listen.port));
  reader.Get("tls", listen.tls);
  reader.GetWith("associations_max", Whole(1, kAssociationsMax, listen.associations_max));
  reader.GetWith("web", [&](const YAML::Node& web, const std::string& where) {
    Reader keys(web, where);
    listen.web.emplace();
    keys.GetWith("port", Whole(0, 65535, listen.web->port));
    keys.Get("token", listen.web->token_file);
    return keys.Finish();
  });
  return reader.Finish();
}

absl::Status ReadLimits(const YAML::Node& node, const std::string& path, QuarantineLimits& limits) {
  Reader reader(node, path);
  reader.Get("bytes_max", limits.bytes_max);
  reader.Get("free_bytes_min", limits.free_bytes_min);
  reader.Get("object_bytes_max", limits.object_bytes_max);
  reader.Get("settle", limits.settle);
  CSL_RETURN_IF_ERROR(reader.Finish());
  if (limits.object_bytes_max < kObjectBytesMin || limits.bytes_max < limits.object_bytes_max) {
    return Reader::Refuse(node, path,
                          "object_bytes_max must be at least 1048576 and at most bytes_max");
  }
  if (limits.settle < absl::ZeroDuration() || limits.settle > absl::Hours(24)) {
    return Reader::Refuse(node, path, "settle must be 0s to 24h");
  }
  return absl::OkStatus();
}

absl::Status ReadTls(const YAML::Node& node, const std::string& path, DicomTlsFiles& files) {
  Reader reader(node, path);
  reader.Require("certificate", reader.Get("certificate", files.certificate));
  reader.Require("key", reader.Get("key", files.key));
  reader.Require("ca", reader.Get("ca", files.ca));
  return reader.Finish();
}

absl::Status ReadDocument(const YAML::Node& root, DicomConfig& config) {
  Reader reader(root, "");
  reader.GetWith("ae_title", AeTitle(config.ae_title));
  reader.GetWith("listen", [&](const YAML::Node& node, const std::string& path) {
    return ReadListen(node, path, config.listen);
  });
  reader.GetWith("quarantine", [&](const YAML::Node& node, const std::string& path) {
    return ReadLimits(node, path, config.quarantine);
  });
  reader.GetWith("tls", [&](const YAML::Node& node, const std::string& path) {
    return ReadTls(node, path, config.tls.emplace());
  });
  reader.GetWith("watch", [&](const YAML::Node& node, const std::string& path) {
    if (!Reader::Read(node, config.watch) || config.watch.size() > kFoldersMax) {
      return Reader::Refuse(node, path, "must be a list of at most 16 folders");
    }
    return absl::OkStatus();
  });
  reader.GetWith("peers", [&](const YAML::Node& node, const std::string& path) {
    return ReadPeers(node, path, config.peers);
  });
  CSL_RETURN_IF_ERROR(reader.Finish());
  bool needs_tls = config.listen.tls || config.listen.web;
  for (const DicomPeer& peer : config.peers) {
    needs_tls = needs_tls || peer.tls || absl::StartsWith(peer.web_root, "https://");
    if (!peer.host.empty() && peer.ae_title.empty() && !config.listen.web) {
      return Reader::Refuse(root, absl::StrCat("peers.", peer.name, ".ae_title"),
                            "is missing; only a sender to listen.web needs none");
    }
  }
  if (needs_tls && !config.tls) {
    return Reader::Refuse(root, "tls", "is missing, and listen or a peer asks for it");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsHostName(absl::string_view host) {
  return IsHost(host) && host.find_first_not_of("0123456789.") != absl::string_view::npos;
}

bool IsAeTitle(absl::string_view text) {
  if (text.empty() || text.size() > 16) return false;
  for (const char c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c)) || c == '\\') return false;
  }
  return !absl::StripAsciiWhitespace(text).empty();
}

absl::StatusOr<DicomPeer> DicomConfig::Peer(absl::string_view name) const {
  std::vector<std::string> names;
  for (const DicomPeer& peer : peers) {
    if (peer.name == name) return peer;
    names.push_back(peer.name);
  }
  return absl::NotFoundError(
      absl::StrCat("dicom.yaml has no peer of that name; it has: ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<DicomConfig> ParseDicomConfig(const std::string& yaml) {
  if (yaml.size() > kFileBytesMax) return absl::InvalidArgumentError("dicom.yaml: too long");
  DicomConfig config;
  // yaml-cpp throws on bad syntax; this is the only place where its exceptions can arise.
  try {
    CSL_RETURN_IF_ERROR(ReadDocument(YAML::Load(yaml), config));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("dicom.yaml: not YAML, line ", error.mark.line + 1));
  }
  return config;
}

absl::StatusOr<DicomConfig> ReadDicomConfig(const std::string& home) {
  const auto text = ReadFile(JoinPath(home, "dicom.yaml"), kFileBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        "no dicom.yaml in the home: copy deploy/config/dicom.yaml there and name the peers");
  }
  CSL_RETURN_IF_ERROR(text.status());
  CSL_ASSIGN_OR_RETURN(DicomConfig config, ParseDicomConfig(*text));
  std::vector<std::string*> paths;
  if (config.tls) paths = {&config.tls->certificate, &config.tls->key, &config.tls->ca};
  if (config.listen.web) paths.push_back(&config.listen.web->token_file);
  for (DicomPeer& peer : config.peers) {
    if (peer.web_credentials) paths.push_back(&peer.web_credentials->file);
  }
  for (std::string* path : paths) {
    if (!path->empty() && !absl::StartsWith(*path, "/")) *path = JoinPath(home, *path);
  }
  return config;
}

}  // namespace consilium::agent
