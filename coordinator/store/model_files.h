// Model files by their content: FOLDER/<sha256>.safetensors.
//
// A file is adopted first and the record that names it is committed afterwards, so a crash between
// the two leaves a file that nobody names, never a name without a file. Same content: same file.
// Thread-safe.
#ifndef CONSILIUM_COORDINATOR_STORE_MODEL_FILES_H_
#define CONSILIUM_COORDINATOR_STORE_MODEL_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::coordinator {

struct ModelFile {
  std::string sha256;  // lower-case hex
  uint64_t bytes = 0;
};

class ModelFiles {
 public:
  explicit ModelFiles(std::string folder) : folder_(std::move(folder)) {}
  // Makes the folder and removes what a crash left unfinished.
  absl::Status Prepare() const;
  // Where to write the file called `name` before Adopt.
  std::string TemporaryPath(absl::string_view name) const;
  // Takes a finished, synced file over under its digest.
  absl::StatusOr<ModelFile> Adopt(const std::string& temporary_path) const;
  // INVALID_ARGUMENT: not 64 lower-case hex digits.
  absl::StatusOr<std::string> Path(absl::string_view sha256) const;

 private:
  const std::string folder_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_MODEL_FILES_H_
