// HOME/agent.yaml: what a site's people may set. Unknown keys are errors.
#ifndef CONSILIUM_SITE_AGENT_AGENT_OPTIONS_H_
#define CONSILIUM_SITE_AGENT_AGENT_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::agent {

// Where and how the network is computed.
struct ComputeOptions {
  int threads = 0;     // 0: all cores
  std::string device;  // "cpu", "cuda"; empty: cuda where there is one
};

struct AgentOptions {
  std::string federation;           // part of every identity
  std::string site;                 // our name in it
  std::string federation_address;   // host:port
  ComputeOptions compute;
  uint64_t cache_bytes_max = uint64_t{20} << 30;  // of HOME/cache, prepared cases
  bool cache_encrypted = false;                   // at rest, with HOME/cache.key
  // The hospital's audit repository (IHE ATNA), host:port; empty: none. The files are PEM, in the home
  // unless their path is absolute.
  std::string atna_repository = {};
  std::string atna_ca = "atna/ca.crt";
  std::string atna_certificate = "atna/client.crt";
  std::string atna_key = "atna/client.key";
};

// INVALID_ARGUMENT names the key and what it must be.
absl::StatusOr<AgentOptions> ParseAgentOptions(absl::string_view yaml);
std::string AgentOptionsToYaml(const AgentOptions& options);

// NOT_FOUND: no agent.yaml; the message says to enrol first.
absl::StatusOr<AgentOptions> ReadAgentOptions(const std::string& home);
absl::Status WriteAgentOptions(const std::string& home, const AgentOptions& options);

// OK for "host:port" or "[v6]:port" with a port of 1..65535. `what` starts the message.
absl::Status CheckAddress(absl::string_view what, absl::string_view address);
// The part of a checked address that the server's certificate must name.
std::string AddressHost(absl::string_view address);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_AGENT_OPTIONS_H_
