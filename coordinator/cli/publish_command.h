// `consilium release publish`: a release of the coordinator as a container image on this machine.
#ifndef CONSILIUM_COORDINATOR_CLI_PUBLISH_COMMAND_H_
#define CONSILIUM_COORDINATOR_CLI_PUBLISH_COMMAND_H_

#include <string>

#include "coordinator/cli/cli.h"

namespace consilium::coordinator {

struct PublishArguments {
  std::string release;
  std::string to;
  std::string runtime;  // empty: the program's own folder
  std::string tag;      // empty: the release's name
};

// The one release of that name. NOT_FOUND.
absl::StatusOr<v1::Release> GetRelease(AdminClient& client, const std::string& name);

// Downloads the model, writes the image, records the publication (once for each digest), and prints
// the digest and how to run it. Nothing is recorded unless the image is whole.
absl::StatusOr<ExitCode> Publish(Cli& cli, const PublishArguments& arguments);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_PUBLISH_COMMAND_H_
