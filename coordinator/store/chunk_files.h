// What the chunk_*.cc files share about files. Not for others.
#ifndef CONSILIUM_COORDINATOR_STORE_CHUNK_FILES_H_
#define CONSILIUM_COORDINATOR_STORE_CHUNK_FILES_H_

#include <cerrno>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/base/file.h"

namespace consilium::coordinator {

inline constexpr const char* kIncomingFolder = "incoming";  // what is not yet under its digest
inline constexpr size_t kDigestPrefix = 12;                 // of a digest in a message

// The error in errno.
inline absl::Status ChunkFileError(absl::string_view action, absl::string_view path) {
  const int error = errno;
  const std::string message = absl::StrCat(action, " chunk ", BaseName(path).substr(0, kDigestPrefix), ": ",
                                           std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_CHUNK_FILES_H_
