#include "site_agent/intake/leftovers.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

absl::Status NotRemoved() { return absl::UnavailableError("a file of the home cannot be removed"); }

}  // namespace

absl::Status RemoveLeftovers(const std::string& folder, absl::string_view name) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  const std::string prefix = absl::StrCat(name, ".");
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    if (!absl::StartsWith(entries->path().filename().string(), prefix)) continue;
    std::error_code removal;
    fs::remove(entries->path(), removal);
    if (removal) return NotRemoved();
  }
  return error ? NotRemoved() : absl::OkStatus();
}

absl::Status RemoveWithLeftovers(const std::string& folder, absl::string_view name) {
  CSL_RETURN_IF_ERROR(RemoveLeftovers(folder, name));
  std::error_code error;
  fs::remove(JoinPath(folder, name), error);
  return error ? NotRemoved() : absl::OkStatus();
}

}  // namespace consilium::agent
