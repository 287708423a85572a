#include "coordinator/publish/service_image.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/publish/runtime_layer.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

constexpr const char* kHome = "/var/lib/consilium";

}  // namespace

absl::StatusOr<Image> MakeServiceImage(const ServiceImageOptions& options) {
  const bool coordinator = options.kind == ServiceKind::kCoordinator;
  const std::string name = coordinator ? "consilium-coordinator" : "consilium-agent";
  const std::string second = coordinator ? "consilium" : "consilium-agent-full";
  if (options.second_program.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the image of ", name, " needs the program ", second, " too"));
  }
  CSL_ASSIGN_OR_RETURN(Runtime runtime, MakeRuntime({options.program, options.second_program}, {}));
  // Open to all like /tmp, as a new volume of podman takes its mode from here.
  runtime.layer.tree.AddFolder(kHome + 1, 01777);
  Image image;
  image.architecture = runtime.architecture;
  image.created = options.created;
  image.user = kImageUser;
  image.folder = "/app";
  image.environment = std::move(runtime.environment);
  image.entrypoint = {absl::StrCat("/app/bin/", name)};
  if (!coordinator) image.entrypoint.emplace_back("run");
  image.entrypoint.insert(image.entrypoint.end(), {"--home", kHome});
  image.annotations = options.annotations;
  image.layers.push_back(std::move(runtime.layer));
  ImageLayer application = {absl::StrCat("application: ", name), {}};
  application.tree.AddFileFrom(absl::StrCat("app/bin/", name), options.program, 0755);
  application.tree.AddFileFrom(absl::StrCat("app/bin/", second), options.second_program, 0755);
  image.layers.push_back(std::move(application));
  return image;
}

}  // namespace consilium::publish
