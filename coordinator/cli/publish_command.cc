#include "coordinator/cli/publish_command.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "coordinator/cli/format.h"
#include "coordinator/publish/inference_image.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTarget = "oci-layout";  // what the audit log calls it; never a path

std::string Rfc3339(int64_t unix_seconds) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(unix_seconds),
                          absl::UTCTimeZone());
}

// release.json: only what never changes, so that publishing again gives the same image.
std::string RecordJson(const v1::Release& release, const v1::Model& model) {
  const nlohmann::json json = {{"release", release.name()},
                               {"version", release.version()},
                               {"created", Rfc3339(release.created_unix())},
                               {"created_by", release.created_by()},
                               {"model_sha256", model.sha256()},
                               {"model_bytes", model.bytes()},
                               {"parameters", model.parameters()},
                               {"plan_sha256", model.plan_sha256()},
                               {"round", model.round()},
                               {"parent", model.parent()},
                               {"audit_index", model.audit_index()}};
  return absl::StrCat(json.dump(1), "\n");
}

std::map<std::string, std::string> Annotations(const v1::Release& release, const v1::Model& model) {
  return {{"org.opencontainers.image.created", Rfc3339(release.created_unix())},
          {"org.opencontainers.image.title", release.name()},
          {"org.opencontainers.image.version", release.version()},
          {"org.opencontainers.image.description",
           "Segments DICOM series with a model trained by a federation of hospitals"},
          {"consilium.release", release.name()},
          {"consilium.model.sha256", model.sha256()},
          {"consilium.plan.sha256", model.plan_sha256()},
          {"consilium.audit.index", absl::StrCat(model.audit_index())}};
}

absl::StatusOr<std::string> FindProgram(const Cli& cli, const PublishArguments& arguments) {
  const std::string folder =
      arguments.runtime.empty() ? cli.around.program_folder : arguments.runtime;
  std::string program = JoinPath(folder, "consilium-infer");
  if (PathExists(program)) return program;
  return absl::NotFoundError(
      absl::StrCat("no consilium-infer ",
                   arguments.runtime.empty() ? "beside this program" : "in the --runtime folder",
                   "; name the folder that holds it with --runtime DIR"));
}

// A dicom.dic beside the program goes before the system's.
std::vector<std::string> DictionariesBeside(const std::string& program) {
  std::vector<std::string> found;
  for (const char* name : {"dicom.dic", "private.dic"}) {
    const std::string path = JoinPath(fs::path(program).parent_path().string(), name);
    if (PathExists(path)) found.push_back(path);
  }
  return found;
}

absl::StatusOr<publish::WrittenImage> WriteImage(AdminClient& client, const std::string& program,
                                                 const PublishArguments& arguments,
                                                 const v1::Release& release,
                                                 const v1::Model& model) {
  const std::string weights = absl::StrCat(arguments.to, ".model-", ::getpid());
  const auto remove = absl::MakeCleanup([&weights] { ::unlink(weights.c_str()); });
  {
    Progress progress("download", "bytes", model.bytes());
    CSL_RETURN_IF_ERROR(
        client.Download(model, weights, [&progress](uint64_t done) { progress.Update(done); }));
    progress.Finish();
  }
  CSL_ASSIGN_OR_RETURN(
      const publish::Image image,
      publish::MakeInferenceImage({.program = program,
                                   .model_path = weights,
                                   .record_json = RecordJson(release, model),
                                   .created = absl::FromUnixSeconds(release.created_unix()),
                                   .annotations = Annotations(release, model),
                                   .dictionaries = DictionariesBeside(program)}));
  Progress progress("image", "bytes", publish::ImageBytes(image));
  absl::StatusOr<publish::WrittenImage> written = publish::WriteOciLayout(
      image, arguments.tag, arguments.to, [&progress](uint64_t done) { progress.Update(done); });
  if (written.ok()) progress.Finish();
  return written;
}

absl::Status Record(AdminClient& client, v1::Release& release, const std::string& digest) {
  const bool known =
      std::any_of(release.publications().begin(), release.publications().end(),
                  [&digest](const v1::Publication& one) {
                    return one.target() == kTarget && one.manifest_sha256() == digest;
                  });
  if (known) return absl::OkStatus();
  v1::RecordPublicationRequest request;
  request.set_release(release.name());
  request.set_target(kTarget);
  request.set_manifest_sha256(digest);
  absl::StatusOr<v1::Release> reply = client.Call(&v1::Admin::Stub::RecordPublication, request);
  if (!reply.ok()) {
    return Annotate(reply.status(),
                    "the image is written but not recorded, run the same command again");
  }
  release = *std::move(reply);
  return absl::OkStatus();
}

std::string ShellQuoted(const std::string& word) {
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

// Run beside the layout: podman takes the path of "oci:" for the image's name, in which it allows
// neither capitals nor "_" at a part's end.
std::string RunCommand(const PublishArguments& arguments) {
  fs::path dir = fs::absolute(arguments.to).lexically_normal();
  if (!dir.has_filename()) dir = dir.parent_path();  // "to/" is "to"
  return absl::StrCat(
      "cd ", ShellQuoted(dir.parent_path().string()),
      " && podman run --rm --network none --read-only --cap-drop all --user $(id -u):$(id -g) "
      "-v /IN:/app/data/input_data:ro -v /OUT:/app/data/output_data oci:",
      dir.filename().string(), ":", arguments.tag);
}

void Print(Cli& cli, const PublishArguments& arguments, const v1::Release& release,
           const publish::WrittenImage& image) {
  if (cli.format != OutputFormat::kTable) {
    nlohmann::json layers = nlohmann::json::array();
    for (const publish::WrittenLayer& layer : image.layers) {
      layers.push_back({{"title", layer.title}, {"sha256", layer.sha256}, {"bytes", layer.bytes}});
    }
    const nlohmann::json json = {{"release", release.name()},
                                 {"version", release.version()},
                                 {"manifest_sha256", image.manifest_sha256},
                                 {"tag", arguments.tag},
                                 {"bytes", image.bytes},
                                 {"layers", layers},
                                 {"already_there", image.already_there},
                                 {"run", RunCommand(arguments)}};
    cli.out << json.dump(cli.format == OutputFormat::kJson ? 1 : -1) << "\n";
    return;
  }
  Table table({"layer", "bytes", "sha256"});
  for (const publish::WrittenLayer& layer : image.layers) {
    table.Add({layer.title, FormatBytes(layer.bytes), ShortDigest(layer.sha256)});
  }
  cli.out << (image.already_there ? "Already there, the very same image: " : "Published ")
          << Clean(release.name()) << " (" << Clean(release.version()) << "), "
          << FormatBytes(image.bytes) << "\n"
          << "digest  sha256:" << image.manifest_sha256 << "\n\n"
          << table.Text() << "\nRun it, OUT writable by user 65532:\n  " << RunCommand(arguments)
          << "\n";
}

}  // namespace

absl::StatusOr<v1::Release> GetRelease(AdminClient& client, const std::string& name) {
  v1::ListReleasesRequest request;
  request.set_name(name);
  CSL_ASSIGN_OR_RETURN(const v1::ListReleasesReply reply,
                       client.Call(&v1::Admin::Stub::ListReleases, request));
  if (reply.releases_size() != 1) {
    return absl::NotFoundError(absl::StrCat("no release ", name, "; see `release list`"));
  }
  return reply.releases(0);
}

absl::StatusOr<ExitCode> Publish(Cli& cli, const PublishArguments& given) {
  PublishArguments arguments = given;
  arguments.to = std::string(absl::StripSuffix(arguments.to, "/"));
  if (arguments.tag.empty()) arguments.tag = arguments.release;
  CSL_RETURN_IF_ERROR(publish::CheckTag(arguments.tag));
  if (arguments.to.empty() || absl::StrContains(arguments.to, ':')) {
    return absl::InvalidArgumentError("--to: a folder whose path has no ':' (podman parts at it)");
  }
  CSL_ASSIGN_OR_RETURN(const std::string program, FindProgram(cli, arguments));
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(v1::Release release, GetRelease(*client, arguments.release));
  CSL_ASSIGN_OR_RETURN(const v1::Model model, GetModel(*client, release.version()));
  if (model.sha256() != release.model_sha256()) {
    return absl::DataLossError(
        absl::StrCat("the model of ", release.version(), " is not the one that was released"));
  }
  CSL_RETURN_IF_ERROR(MakeDirs(fs::absolute(arguments.to).parent_path().string()));
  CSL_ASSIGN_OR_RETURN(const publish::WrittenImage image,
                       WriteImage(*client, program, arguments, release, model));
  CSL_RETURN_IF_ERROR(Record(*client, release, image.manifest_sha256));
  Print(cli, arguments, release, image);
  return ExitCode::kOk;
}

}  // namespace consilium::coordinator
