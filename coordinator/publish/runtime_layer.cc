#include "coordinator/publish/runtime_layer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "coordinator/publish/elf_closure.h"
#include "coordinator/publish/elf_reader.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

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

// What all the programs need together.
absl::StatusOr<ElfClosure> FindClosure(const std::vector<std::string>& programs) {
  if (programs.empty()) return absl::InvalidArgumentError("an image needs a program");
  const std::vector<std::string> folders = SystemLibraryFolders();
  CSL_ASSIGN_OR_RETURN(ElfClosure all, FindElfClosure(programs.front(), folders));
  for (size_t i = 1; i < programs.size(); ++i) {
    CSL_ASSIGN_OR_RETURN(const ElfClosure one, FindElfClosure(programs[i], folders));
    bool together = one.machine == all.machine && one.interpreter == all.interpreter;
    for (const auto& [name, path] : one.libraries) {
      together = together && all.libraries.try_emplace(name, path).first->second == path;
    }
    if (!together) {
      return absl::InvalidArgumentError(
          absl::StrCat(BaseName(programs.front()), " and ", BaseName(programs[i]),
                       " were built on different systems: another loader or other libraries"));
    }
  }
  return all;
}

// The dictionaries that DCMTK reads at start, where a program links DCMTK: its libraries carry the
// number that its data folder carries too.
absl::StatusOr<std::vector<std::string>> FindDictionaries(const ElfClosure& closure) {
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

}  // namespace

absl::StatusOr<Runtime> MakeRuntime(const std::vector<std::string>& programs,
                                    const std::vector<std::string>& given) {
  CSL_ASSIGN_OR_RETURN(const ElfClosure closure, FindClosure(programs));
  std::vector<std::string> dictionaries = given;
  if (dictionaries.empty()) {
    CSL_ASSIGN_OR_RETURN(dictionaries, FindDictionaries(closure));
  }
  Runtime runtime;
  CSL_ASSIGN_OR_RETURN(runtime.architecture, Architecture(closure.machine));
  runtime.environment = {"PATH=/app/bin", "HOME=/tmp", "LD_LIBRARY_PATH=/app/lib"};
  runtime.layer.title = dictionaries.empty() ? "runtime: loader, libraries"
                                             : "runtime: loader, libraries, DICOM dictionary";
  TarTree& tree = runtime.layer.tree;
  if (!closure.interpreter.empty()) {
    tree.AddFileFrom(closure.interpreter.substr(1), closure.interpreter, 0755);
  }
  for (const auto& [name, path] : closure.libraries) {
    tree.AddFileFrom(absl::StrCat("app/lib/", name), path, 0755);
  }
  std::vector<std::string> inside;
  for (const std::string& path : dictionaries) {
    const std::string name = absl::StrCat("app/share/dcmtk/", BaseName(path));
    tree.AddFileFrom(name, path);
    inside.push_back(absl::StrCat("/", name));
  }
  if (!inside.empty()) {
    runtime.environment.push_back(absl::StrCat("DCMDICTPATH=", absl::StrJoin(inside, ":")));
  }
  tree.AddFile("etc/passwd", kPasswd);
  tree.AddFile("etc/group", kGroup);
  tree.AddFolder("tmp", 01777);
  return runtime;
}

}  // namespace consilium::publish
