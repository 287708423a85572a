#include "site_agent/intake/home_key.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/random.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {

absl::StatusOr<privacy::SecretBytes> LoadOrCreateHomeKey(const std::string& home,
                                                         const std::string& name, size_t bytes) {
  const std::string path = JoinPath(home, name);
  if (!PathExists(path)) {
    CSL_RETURN_IF_ERROR(MakeDirs(home));
    CSL_RETURN_IF_ERROR(
        WriteFileAtomic(path, privacy::RandomSecret(bytes).view(), kPrivateFile));
  }
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) {
    return absl::UnavailableError(absl::StrCat(name, " cannot be read"));
  }
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": others may read it; chmod 600"));
  }
  CSL_ASSIGN_OR_RETURN(const std::string key, ReadFile(path, bytes));
  if (key.size() != bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": has not ", bytes, " bytes; restore it from a backup"));
  }
  return privacy::SecretBytes(key);
}

}  // namespace consilium::agent
