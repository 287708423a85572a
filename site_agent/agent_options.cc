#include "site_agent/agent_options.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "yaml-cpp/yaml.h"

namespace consilium::agent {
namespace {

constexpr const char* kFileName = "agent.yaml";
constexpr uint64_t kFileBytesMax = 64 * 1024;
constexpr size_t kAddressBytesMax = 261;  // a DNS name, a colon, a port
constexpr int kThreadsMax = 1024;
constexpr uint64_t kCacheBytesMin = uint64_t{64} << 20;

absl::Status Refuse(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("agent.yaml: ", key, " ", what));
}

absl::Status Assign(const std::string& key, const std::string& text, AgentOptions& out) {
  if (key == "federation") {
    out.federation = text;
  } else if (key == "site") {
    out.site = text;
  } else if (key == "federation_address") {
    out.federation_address = text;
  } else if (key == "device") {
    out.compute.device = text;
  } else if (key == "threads") {
    if (!absl::SimpleAtoi(text, &out.compute.threads)) return Refuse(key, "must be a number");
  } else if (key == "cache_bytes_max") {
    if (!absl::SimpleAtoi(text, &out.cache_bytes_max)) return Refuse(key, "must be a number");
  } else if (key == "cache_encrypted") {
    if (text != "true" && text != "false") return Refuse(key, "must be true or false");
    out.cache_encrypted = text == "true";
  } else if (key == "atna_repository") {
    out.atna_repository = text;
  } else if (key == "atna_ca") {
    out.atna_ca = text;
  } else if (key == "atna_certificate") {
    out.atna_certificate = text;
  } else if (key == "atna_key") {
    out.atna_key = text;
  } else {
    return absl::InvalidArgumentError(
        "agent.yaml: unknown key; known are federation, site, federation_address, threads, device, "
        "cache_bytes_max, cache_encrypted, atna_repository, atna_ca, atna_certificate, atna_key");
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const AgentOptions& options) {
  CSL_RETURN_IF_ERROR(CheckName("agent.yaml: federation", options.federation));
  CSL_RETURN_IF_ERROR(CheckName("agent.yaml: site", options.site));
  CSL_RETURN_IF_ERROR(CheckAddress("agent.yaml: federation_address", options.federation_address));
  if (options.compute.threads < 0 || options.compute.threads > kThreadsMax) {
    return Refuse("threads", absl::StrCat("must be 0 (all cores) to ", kThreadsMax));
  }
  const std::string& device = options.compute.device;
  if (!device.empty() && device != "cpu" && device != "cuda") {
    return Refuse("device", "must be cpu, cuda or empty");
  }
  if (!options.atna_repository.empty()) {
    CSL_RETURN_IF_ERROR(CheckAddress("agent.yaml: atna_repository", options.atna_repository));
  }
  for (const std::string& path :
       {options.atna_ca, options.atna_certificate, options.atna_key}) {
    if (path.find_first_of("\"\\\n") != std::string::npos) {
      return Refuse("atna_*", "paths have no quote, backslash or line end");
    }
  }
  if (options.cache_bytes_max < kCacheBytesMin) {
    return Refuse("cache_bytes_max", absl::StrCat("must be at least ", kCacheBytesMin));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAddress(absl::string_view what, absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  const bool shaped = address.size() <= kAddressBytesMax && colon != absl::string_view::npos &&
                      colon > 0 && absl::SimpleAtoi(address.substr(colon + 1), &port) &&
                      port >= 1 && port <= 65535;
  if (!shaped) return absl::InvalidArgumentError(absl::StrCat(what, " must be HOST:PORT"));
  absl::string_view host = address.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (bracketed) host = host.substr(1, host.size() - 2);
  for (const char c : host) {
    const bool allowed = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
                         c == '.' || (bracketed && c == ':');
    if (!allowed) return absl::InvalidArgumentError(absl::StrCat(what, " must be HOST:PORT"));
  }
  return absl::OkStatus();
}

std::string AddressHost(absl::string_view address) {
  absl::string_view host = address.substr(0, address.rfind(':'));
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  return std::string(host);
}

absl::StatusOr<AgentOptions> ParseAgentOptions(absl::string_view yaml) {
  if (yaml.size() > kFileBytesMax) return absl::InvalidArgumentError("agent.yaml: too long");
  AgentOptions options;
  // yaml-cpp throws on bad syntax; this is the only place where its exceptions can arise.
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    if (!root.IsMap()) return absl::InvalidArgumentError("agent.yaml: must be a map of keys");
    std::set<std::string> seen;
    for (const auto& item : root) {
      if (!item.first.IsScalar() || !item.second.IsScalar()) {
        return absl::InvalidArgumentError("agent.yaml: every value must be a plain one");
      }
      const std::string key = item.first.Scalar();
      CSL_RETURN_IF_ERROR(Assign(key, item.second.Scalar(), options));
      if (!seen.insert(key).second) return Refuse(key, "appears twice");
    }
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("agent.yaml: not YAML, line ", error.mark.line + 1));
  }
  CSL_RETURN_IF_ERROR(CheckOptions(options));
  return options;
}

std::string AgentOptionsToYaml(const AgentOptions& options) {
  return absl::StrCat(
      "federation: ", options.federation, "\nsite: ", options.site,
      "\nfederation_address: \"", options.federation_address,
      "\"\n# 0: all cores\nthreads: ", options.compute.threads,
      "\n# cpu, cuda, or empty: cuda where there is one\ndevice: \"", options.compute.device,
      "\"\n# prepared cases kept on disk\ncache_bytes_max: ", options.cache_bytes_max,
      "\n# seal them with HOME/cache.key (AES-256-GCM)\ncache_encrypted: ",
      options.cache_encrypted ? "true" : "false",
      "\n# the hospital's audit repository (IHE ATNA, syslog over TLS), HOST:PORT; empty: none\n"
      "atna_repository: \"", options.atna_repository, "\"\natna_ca: \"", options.atna_ca,
      "\"\natna_certificate: \"", options.atna_certificate, "\"\natna_key: \"",
      options.atna_key, "\"\n");
}

absl::StatusOr<AgentOptions> ReadAgentOptions(const std::string& home) {
  const auto text = ReadFile(JoinPath(home, kFileName), kFileBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        "no agent.yaml in the home: run `consilium-agent enroll --home DIR --invitation FILE` "
        "first");
  }
  CSL_RETURN_IF_ERROR(text.status());
  return ParseAgentOptions(*text);
}

absl::Status WriteAgentOptions(const std::string& home, const AgentOptions& options) {
  CSL_RETURN_IF_ERROR(CheckOptions(options));
  return WriteFileAtomic(JoinPath(home, kFileName), AgentOptionsToYaml(options), kPrivateFile);
}

}  // namespace consilium::agent
