#include "coordinator/store/ballast.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {
constexpr uint64_t kBlockBytes = 512;  // of st_blocks, whatever the file system's are
}  // namespace

absl::Status Ballast::Make() const {
  if (!configured()) return absl::OkStatus();
  struct stat info = {};
  if (::stat(path_.c_str(), &info) == 0 &&
      static_cast<uint64_t>(info.st_blocks) * kBlockBytes >= bytes_) {
    return absl::OkStatus();
  }
  CSL_ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeBytes());
  if (free_bytes < 2 * bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("less than ", 2 * bytes_ >> 20, " MiB are free; free some space"));
  }
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
  if (fd < 0) return absl::UnavailableError("the reserve cannot be made");
  const int failed = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes_));
  ::close(fd);
  if (failed == 0) return absl::OkStatus();
  Free();
  if (failed == ENOSPC) return absl::ResourceExhaustedError("no space for the reserve");
  return absl::UnavailableError("the reserve cannot be allocated");
}

absl::StatusOr<uint64_t> Ballast::FreeBytes() const {
  const std::string folder = path_.substr(0, path_.size() - BaseName(path_).size());
  struct statvfs space = {};
  if (::statvfs(folder.empty() ? "." : folder.c_str(), &space) != 0) {
    return absl::UnavailableError("the reserve's file system does not answer");
  }
  return uint64_t{space.f_bavail} * space.f_frsize;
}

absl::Status Ballast::CheckSpace() const {
  if (!configured()) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeBytes());
  if (free_bytes >= kSpaceFloorBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("less than ", kSpaceFloorBytes >> 20, " MiB are free; free some space"));
}

void Ballast::Free() const {
  if (configured()) ::unlink(path_.c_str());
}

}  // namespace consilium::coordinator
