#include "site_agent/intake/nifti_folder.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace consilium::agent {

namespace fs = std::filesystem;

absl::StatusOr<std::map<std::string, std::string>> ListNiftiLabels(const std::string& folder) {
  std::map<std::string, std::string> files;
  if (folder.empty()) return files;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) return absl::NotFoundError("the folder of NIfTI labels cannot be read");
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    absl::string_view stem = name;
    if (!absl::ConsumeSuffix(&stem, ".nii.gz") && !absl::ConsumeSuffix(&stem, ".nii")) continue;
    if (!files.emplace(std::string(stem), entries->path().string()).second) {
      return absl::InvalidArgumentError("two NIfTI labels of one name");
    }
  }
  if (error) return absl::NotFoundError("the folder of NIfTI labels cannot be read to its end");
  return files;
}

}  // namespace consilium::agent
