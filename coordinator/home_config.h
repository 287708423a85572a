// coordinator.yaml as text: the one place that knows its keys.
#ifndef CONSILIUM_COORDINATOR_HOME_CONFIG_H_
#define CONSILIUM_COORDINATOR_HOME_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/home.h"

namespace consilium::coordinator {

// The file with a comment on each key. CoordinatorOptionsFromYaml gives `options` back.
std::string CoordinatorOptionsToYaml(const CoordinatorOptions& options);

// INVALID_ARGUMENT names the key and the line. What it returns passes CheckCoordinatorOptions.
absl::StatusOr<CoordinatorOptions> CoordinatorOptionsFromYaml(const std::string& text);

// The host of "host:port" or "[v6]:port"; empty if it is neither, or the port is not 0 to 65535.
std::string HostOf(absl::string_view address);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_HOME_CONFIG_H_
