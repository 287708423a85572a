// The images of the services: the coordinator and a site's agent.
//
// Layers: runtime (see runtime_layer.h) and the empty folder /var/lib/consilium, where the home is
// mounted; application (the programs). Everything else may be read-only; the programs run as 65532.
// The coordinator's image also carries `consilium`, as an administrator has no shell in there.
#ifndef CONSILIUM_COORDINATOR_PUBLISH_SERVICE_IMAGE_H_
#define CONSILIUM_COORDINATOR_PUBLISH_SERVICE_IMAGE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/publish/oci_layout.h"

namespace consilium::publish {

enum class ServiceKind { kCoordinator, kAgent };

struct ServiceImageOptions {
  ServiceKind kind = ServiceKind::kCoordinator;
  std::string program;        // consilium-coordinator or consilium-agent on this machine
  std::string second_program;  // consilium, or consilium-agent-full
  absl::Time created = absl::UnixEpoch();
  std::map<std::string, std::string> annotations;
};

// NOT_FOUND: a program or a library is missing; says which. INVALID_ARGUMENT: as MakeRuntime, or a
// one program alone.
absl::StatusOr<Image> MakeServiceImage(const ServiceImageOptions& options);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_SERVICE_IMAGE_H_
