#include "coordinator/store/model_files.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {
constexpr const char* kTemporarySuffix = ".incoming";
}  // namespace

absl::Status ModelFiles::Prepare() const {
  CSL_RETURN_IF_ERROR(MakeDirs(folder_));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    if (!absl::EndsWith(entry.path().filename().string(), ".safetensors")) {
      std::error_code ignored;  // a leftover that cannot be removed does no harm
      std::filesystem::remove(entry.path(), ignored);
    }
  }
  if (error) return absl::UnavailableError("the folder of models cannot be read");
  return absl::OkStatus();
}

std::string ModelFiles::TemporaryPath(absl::string_view name) const {
  return JoinPath(folder_, absl::StrCat(name, kTemporarySuffix));
}

absl::StatusOr<ModelFile> ModelFiles::Adopt(const std::string& temporary_path) const {
  ModelFile file;
  CSL_ASSIGN_OR_RETURN(file.sha256, privacy::Sha256HexOfFile(temporary_path));
  CSL_ASSIGN_OR_RETURN(file.bytes, FileBytes(temporary_path));
  CSL_ASSIGN_OR_RETURN(const std::string path, Path(file.sha256));
  CSL_RETURN_IF_ERROR(RenameDurably(temporary_path, path));
  return file;
}

absl::StatusOr<std::string> ModelFiles::Path(absl::string_view sha256) const {
  const bool is_digest =
      sha256.size() == 2 * privacy::kSha256Bytes &&
      sha256.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
  if (!is_digest) return absl::InvalidArgumentError("a model's digest has 64 lower-case hex digits");
  return JoinPath(folder_, absl::StrCat(sha256, ".safetensors"));
}

}  // namespace consilium::coordinator
