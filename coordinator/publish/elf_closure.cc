#include "coordinator/publish/elf_closure.h"

#include <glob.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coordinator/publish/elf_reader.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLibrariesMax = 4096;
constexpr uint64_t kConfBytesMax = 64 * 1024;
constexpr int kConfDepthMax = 8;

std::string Multiarch() {
#if defined(__aarch64__)
  return "aarch64-linux-gnu";
#else
  return "x86_64-linux-gnu";
#endif
}

std::vector<std::string> Glob(const std::string& pattern) {
  glob_t found = {};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  ::globfree(&found);
  return paths;
}

void ReadConf(const std::string& path, int depth, std::vector<std::string>& folders) {
  if (depth > kConfDepthMax) return;
  const absl::StatusOr<std::string> text = ReadFile(path, kConfBytesMax);
  if (!text.ok()) return;  // the loader passes over it as well
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (absl::ConsumePrefix(&line, "include ")) {
      std::string pattern(absl::StripAsciiWhitespace(line));
      if (!absl::StartsWith(pattern, "/")) {
        pattern = JoinPath(fs::path(path).parent_path().string(), pattern);
      }
      for (const std::string& included : Glob(pattern)) ReadConf(included, depth + 1, folders);
    } else if (absl::StartsWith(line, "/")) {
      folders.emplace_back(line);
    }
  }
}

// An object of the closure and the DT_RPATH folders that count for what it needs.
struct Object {
  std::string path;   // links followed
  std::string found;  // as it was found: $ORIGIN is its folder
  ElfFacts facts;
  std::vector<std::string> rpath_folders;
};

class Search {
 public:
  explicit Search(const std::vector<std::string>& system_folders)
      : system_folders_(system_folders) {}

  absl::StatusOr<ElfClosure> Run(const std::string& program) {
    std::error_code error;
    const fs::path real = fs::canonical(program, error);
    if (error) return absl::NotFoundError(absl::StrCat("no program ", BaseName(program)));
    CSL_ASSIGN_OR_RETURN(Object root, Load(real.string(), {}));
    closure_.machine = root.facts.machine;
    closure_.interpreter = root.facts.interpreter;
    if (!closure_.interpreter.empty() && !PathExists(closure_.interpreter)) {
      return absl::NotFoundError(absl::StrCat("no loader ", closure_.interpreter));
    }
    std::deque<Object> queue;
    queue.push_back(std::move(root));
    while (!queue.empty()) {
      const Object object = std::move(queue.front());
      queue.pop_front();
      for (const std::string& name : object.facts.needed) {
        CSL_RETURN_IF_ERROR(Take(name, object, queue));
      }
    }
    return std::move(closure_);
  }

 private:
  absl::Status Take(const std::string& name, const Object& by, std::deque<Object>& queue) {
    const bool loader = name == BaseName(closure_.interpreter);
    if (loader || closure_.libraries.contains(name)) return absl::OkStatus();
    if (name.empty() || absl::StrContains(name, '/')) {
      return absl::FailedPreconditionError(
          absl::StrCat(BaseName(by.path), " asks for a library by its path; link it by name"));
    }
    if (closure_.libraries.size() == kLibrariesMax) {
      return absl::ResourceExhaustedError(absl::StrCat("more than ", kLibrariesMax, " libraries"));
    }
    absl::Status unusable;
    for (const std::string& folder : FoldersFor(by)) {
      const std::string candidate = JoinPath(folder, name);
      if (!PathExists(candidate)) continue;
      absl::StatusOr<Object> object = Load(candidate, by.rpath_folders);
      if (!object.ok()) {
        unusable = object.status();  // perhaps of a 32-bit machine; another folder may do
        continue;
      }
      if (object->facts.machine != closure_.machine) continue;
      closure_.libraries[name] = object->path;
      queue.push_back(*std::move(object));
      return absl::OkStatus();
    }
    if (!unusable.ok()) return unusable;
    return absl::NotFoundError(absl::StrCat("library ", name, ", needed by ", BaseName(by.path),
                                            ", is in none of the library folders"));
  }

  std::vector<std::string> FoldersFor(const Object& object) const {
    std::vector<std::string> folders;
    if (object.facts.runpath.empty()) folders = object.rpath_folders;
    const std::vector<std::string> own = Expand(object.facts.runpath, object.found);
    folders.insert(folders.end(), own.begin(), own.end());
    folders.insert(folders.end(), system_folders_.begin(), system_folders_.end());
    return folders;
  }

  static std::vector<std::string> Expand(const std::string& paths, const std::string& of) {
    std::vector<std::string> folders;
    const std::string origin = fs::path(of).parent_path().string();
    const std::string lib = absl::StrCat("lib/", Multiarch());
    for (const absl::string_view part : absl::StrSplit(paths, ':', absl::SkipEmpty())) {
      std::string folder = absl::StrReplaceAll(
          part, {{"${ORIGIN}", origin}, {"$ORIGIN", origin}, {"${LIB}", lib}, {"$LIB", lib}});
      if (absl::StartsWith(folder, "/") && !absl::StrContains(folder, '$')) {
        folders.push_back(std::move(folder));
      }
    }
    return folders;
  }

  static absl::StatusOr<Object> Load(const std::string& path,
                                     const std::vector<std::string>& inherited) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (error) return absl::NotFoundError(absl::StrCat("no file ", BaseName(path)));
    CSL_ASSIGN_OR_RETURN(ElfFacts facts, ReadElf(real.string()));
    Object object = {real.string(), path, std::move(facts), {}};
    if (object.facts.runpath.empty()) object.rpath_folders = Expand(object.facts.rpath, path);
    object.rpath_folders.insert(object.rpath_folders.end(), inherited.begin(), inherited.end());
    return object;
  }

  const std::vector<std::string>& system_folders_;
  ElfClosure closure_;
};

}  // namespace

std::vector<std::string> SystemLibraryFolders() {
  std::vector<std::string> folders;
  ReadConf("/etc/ld.so.conf", 0, folders);
  for (const std::string& folder :
       {absl::StrCat("/lib/", Multiarch()), absl::StrCat("/usr/lib/", Multiarch()),
        std::string("/lib64"), std::string("/usr/lib64"), std::string("/lib"),
        std::string("/usr/lib")}) {
    folders.push_back(folder);
  }
  std::set<std::string> seen;
  std::erase_if(folders,
                [&seen](const std::string& folder) { return !seen.insert(folder).second; });
  return folders;
}

absl::StatusOr<ElfClosure> FindElfClosure(const std::string& program,
                                          const std::vector<std::string>& system_folders) {
  return Search(system_folders).Run(program);
}

}  // namespace consilium::publish
