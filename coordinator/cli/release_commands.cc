#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "coordinator/cli/publish_command.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct ReleaseArguments {
  std::string version;
  std::string name;
};

absl::StatusOr<ExitCode> Create(Cli& cli, const ReleaseArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::CreateReleaseRequest request;
  request.set_version(arguments.version);
  CSL_ASSIGN_OR_RETURN(const v1::Release release,
                       client->Call(&v1::Admin::Stub::CreateRelease, request));
  return cli.Show(release, absl::StrCat("Made release ", Clean(release.name()), " of ",
                                        Clean(release.version()), ".\n"));
}

absl::StatusOr<ExitCode> List(Cli& cli) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::ListReleasesReply reply,
                       client->Call(&v1::Admin::Stub::ListReleases, v1::ListReleasesRequest()));
  return cli.ShowList(reply, reply.releases(), FormatReleases(reply));
}

absl::StatusOr<ExitCode> ShowRelease(Cli& cli, const ReleaseArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::Release release, GetRelease(*client, arguments.name));
  return cli.Show(release, FormatRelease(release));
}

void AddPublish(CLI::App& release, Cli& cli) {
  auto arguments = std::make_shared<PublishArguments>();
  CLI::App* publish =
      release.add_subcommand("publish", "Write a release as a container image (OCI layout)");
  publish->add_option("RELEASE", arguments->release, "The release")->required();
  publish->add_option("--to", arguments->to, "Folder to make")->required()->type_name("DIR");
  publish
      ->add_option("--runtime", arguments->runtime,
                   "Folder with consilium-infer; default: where this program lies")
      ->type_name("DIR");
  publish->add_option("--tag", arguments->tag, "Tag in the layout; default: the release's name");
  publish->footer(
      "Example:\n  consilium release publish hippocampus-3 --to ./hippocampus-3\n"
      "  podman run --rm --network none --user $(id -u):$(id -g) -v IN:/app/data/input_data:ro \\\n"
      "      -v OUT:/app/data/output_data oci:hippocampus-3:hippocampus-3");
  publish->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Publish(cli, *arguments); }; });
}

}  // namespace

void AddReleaseCommands(CLI::App& app, Cli& cli) {
  CLI::App* release = app.add_subcommand("release", "Versions given out as containers");
  release->require_subcommand(1);
  release->footer("Example:\n  consilium release create hippocampus/3");
  auto arguments = std::make_shared<ReleaseArguments>();
  CLI::App* create = release->add_subcommand("create", "Make a release of a version");
  create->add_option("VERSION", arguments->version, "STUDY/NUMBER or STUDY@ALIAS")->required();
  create->footer("Example:\n  consilium release create hippocampus@production");
  create->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Create(cli, *arguments); }; });
  CLI::App* list = release->add_subcommand("list", "All releases");
  list->footer("Example:\n  consilium release list");
  list->callback([&cli] { cli.action = [&cli] { return List(cli); }; });
  CLI::App* show = release->add_subcommand("show", "One release and where it was published");
  show->add_option("RELEASE", arguments->name, "The release")->required();
  show->footer("Example:\n  consilium release show hippocampus-3");
  show->callback([&cli, arguments] {
    cli.action = [&cli, arguments] { return ShowRelease(cli, *arguments); };
  });
  AddPublish(*release, cli);
}

}  // namespace consilium::coordinator
