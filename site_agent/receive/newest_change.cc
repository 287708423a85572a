#include "site_agent/receive/newest_change.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

absl::Time ChangedAt(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 ? absl::TimeFromTimespec(info.st_mtim)
                                           : absl::InfinitePast();
}

}  // namespace

absl::Time NewestChange(const std::string& folder) {
  absl::Time newest = ChangedAt(folder);
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  while (!error && entries != fs::recursive_directory_iterator()) {
    newest = std::max(newest, ChangedAt(entries->path().string()));
    entries.increment(error);
  }
  return newest;
}

}  // namespace consilium::agent
