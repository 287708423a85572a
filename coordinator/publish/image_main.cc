// consilium-image: writes the container image of a service.
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "coordinator/publish/service_image.h"
#include "proto/base/cli.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace {

using consilium::JoinPath;
using consilium::publish::ServiceKind;

constexpr const char* kProgram = "consilium-image";
constexpr const char* kFooter =
    "Writes an OCI image layout, which podman, skopeo and umoci read; the same programs give the "
    "same\n"
    "bytes. The image has no shell, runs as 65532, and wants its home mounted at "
    "/var/lib/consilium.\n\n"
    "Examples:\n"
    "  consilium-image coordinator --to ./coordinator-image --tag 0.1.0\n"
    "  podman run --read-only --cap-drop all --user $(id -u):$(id -g) \\\n"
    "      -v ./centre:/var/lib/consilium oci:coordinator-image:0.1.0\n"
    "  skopeo copy oci:coordinator-image:0.1.0 "
    "docker://registry.example.org/consilium/coordinator:0.1.0\n\n"
    "Exit codes: 0 ok, 2 usage, or the folder holds something else, 3 a program or library is "
    "missing,\n"
    "5 internal error.";

struct Arguments {
  std::string kind;
  std::string bin;
  std::string to;
  std::string tag = CONSILIUM_VERSION;
  int64_t created = 0;
};

absl::Status Run(const Arguments& arguments) {
  const std::string to(absl::StripSuffix(arguments.to, "/"));
  CSL_RETURN_IF_ERROR(consilium::publish::CheckTag(arguments.tag));
  if (to.empty() || absl::StrContains(to, ':')) {
    return absl::InvalidArgumentError("--to: a folder whose path has no ':' (podman parts at it)");
  }
  const bool coordinator = arguments.kind == "coordinator";
  const std::string name = absl::StrCat("consilium-", arguments.kind);
  CSL_ASSIGN_OR_RETURN(
      const consilium::publish::Image image,
      consilium::publish::MakeServiceImage(
          {.kind = coordinator ? ServiceKind::kCoordinator : ServiceKind::kAgent,
           .program = JoinPath(arguments.bin, name),
           .second_program =
               JoinPath(arguments.bin, coordinator ? "consilium" : "consilium-agent-full"),
           .created = absl::FromUnixSeconds(arguments.created),
           .annotations = {{"org.opencontainers.image.title", name},
                           {"org.opencontainers.image.version", CONSILIUM_VERSION}}}));
  consilium::Progress progress("image", "bytes", consilium::publish::ImageBytes(image));
  CSL_ASSIGN_OR_RETURN(
      const consilium::publish::WrittenImage written,
      consilium::publish::WriteOciLayout(image, arguments.tag, to,
                                         [&progress](uint64_t done) { progress.Update(done); }));
  progress.Finish();
  std::cout << (written.already_there ? "Already there, the very same image: " : "Wrote ") << name
            << ", " << consilium::FormatBytes(written.bytes)
            << "\ndigest  sha256:" << written.manifest_sha256 << "\n";
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  std::error_code ignored;
  arguments.bin = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().string();
  CLI::App app("Writes the container image of a service.", kProgram);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  app.footer(kFooter);
  app.add_option("service", arguments.kind, "coordinator or agent")
      ->required()
      ->check(CLI::IsMember({"coordinator", "agent"}));
  app.add_option("--bin", arguments.bin, "folder of the programs; default: where this one is");
  app.add_option("--to", arguments.to, "folder to make")->required();
  app.add_option("--tag", arguments.tag, "name of the image in the folder")->capture_default_str();
  app.add_option("--created", arguments.created, "time to note in the image, Unix seconds")
      ->check(CLI::Range(int64_t{0}, int64_t{253402300799}))  // the end of year 9999
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(consilium::ExitCode::kUsage);
  }
  return consilium::ReportAndExitCode(kProgram, Run(arguments));
}
