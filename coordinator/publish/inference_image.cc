#include "coordinator/publish/inference_image.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "coordinator/publish/elf_closure.h"
#include "coordinator/publish/elf_reader.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

constexpr const char* kUser = "65532";
constexpr const char* kPasswd =
    "root:x:0:0:root:/:/sbin/nologin\n"
    "consilium:x:65532:65532:consilium:/tmp:/sbin/nologin\n";
constexpr const char* kGroup =
    "root:x:0:\n"
    "consilium:x:65532:\n";

absl::StatusOr<std::string> Architecture(uint16_t machine) {
  switch (machine) {
    case kMachineX86_64:
      return "amd64";
    case kMachineAarch64:
      return "arm64";
    default:
      return absl::InvalidArgumentError(absl::StrCat("no image for ELF machine ", machine));
  }
}

// The dictionaries that DCMTK reads at start, where the program links DCMTK: its libraries carry
// the number that its data folder carries too.
absl::StatusOr<std::vector<std::string>> FindDictionaries(const InferenceImageOptions& options,
                                                          const ElfClosure& closure) {
  if (!options.dictionaries.empty()) return options.dictionaries;
  std::vector<std::string> found;
  for (const auto& library : closure.libraries) {
    absl::string_view number = library.first;
    if (!absl::ConsumePrefix(&number, "libdcmdata.so.")) continue;
    const std::string folder = absl::StrCat("/usr/share/libdcmtk", number);
    for (const char* name : {"dicom.dic", "private.dic"}) {
      if (PathExists(JoinPath(folder, name))) found.push_back(JoinPath(folder, name));
    }
    if (found.empty()) {
      return absl::NotFoundError(absl::StrCat(
          "no DICOM dictionary in ", folder, "; put dicom.dic beside consilium-infer (--runtime)"));
    }
  }
  return found;
}

ImageLayer RuntimeLayer(const ElfClosure& closure, const std::vector<std::string>& dictionaries) {
  ImageLayer layer = {"runtime: loader, libraries, DICOM dictionary", {}};
  TarTree& tree = layer.tree;
  if (!closure.interpreter.empty()) {
    tree.AddFileFrom(closure.interpreter.substr(1), closure.interpreter, 0755);
  }
  for (const auto& [name, path] : closure.libraries) {
    tree.AddFileFrom(absl::StrCat("app/lib/", name), path, 0755);
  }
  for (const std::string& path : dictionaries) {
    tree.AddFileFrom(absl::StrCat("app/share/dcmtk/", BaseName(path)), path);
  }
  tree.AddFile("etc/passwd", kPasswd);
  tree.AddFile("etc/group", kGroup);
  tree.AddFolder("tmp", 01777);
  tree.AddFolder("app/data/input_data");
  tree.AddFolder("app/data/output_data", 01777);
  tree.AddLink("app/data/output", "output_data");
  return layer;
}

}  // namespace

absl::StatusOr<Image> MakeInferenceImage(const InferenceImageOptions& options) {
  CSL_ASSIGN_OR_RETURN(const ElfClosure closure,
                       FindElfClosure(options.program, SystemLibraryFolders()));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> dictionaries,
                       FindDictionaries(options, closure));
  Image image;
  CSL_ASSIGN_OR_RETURN(image.architecture, Architecture(closure.machine));
  image.created = options.created;
  image.user = kUser;
  image.folder = "/app";
  image.environment = {"PATH=/app/bin", "HOME=/tmp", "LD_LIBRARY_PATH=/app/lib"};
  if (!dictionaries.empty()) {
    std::vector<std::string> inside;
    for (const std::string& path : dictionaries) {
      inside.push_back(absl::StrCat("/app/share/dcmtk/", BaseName(path)));
    }
    image.environment.push_back(absl::StrCat("DCMDICTPATH=", absl::StrJoin(inside, ":")));
  }
  image.entrypoint = {"/app/bin/consilium-infer"};
  image.command = {"--input",  "/app/data/input_data",
                   "--output", "/app/data/output_data",
                   "--model",  "/app/model"};
  image.annotations = options.annotations;
  image.layers.push_back(RuntimeLayer(closure, dictionaries));
  ImageLayer application = {"application: consilium-infer", {}};
  application.tree.AddFileFrom("app/bin/consilium-infer", options.program, 0755);
  application.tree.AddLink("app/bin/mhub.run", "consilium-infer");
  image.layers.push_back(std::move(application));
  ImageLayer model = {"model: weights and release record", {}};
  model.tree.AddFile("app/model/release.json", options.record_json);
  model.tree.AddFileFrom("app/model/model.safetensors", options.model_path);
  image.layers.push_back(std::move(model));
  return image;
}

}  // namespace consilium::publish
