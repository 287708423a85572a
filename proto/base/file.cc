#include "proto/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium {
namespace {

constexpr size_t kVectorsMax = 128;  // pieces a call; IOV_MAX is 1024

absl::Status ErrnoStatus(absl::string_view action, absl::string_view path) {
  const int error = errno;
  const std::string message =
      absl::StrCat(action, " ", BaseName(path), ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::Status WriteAll(int fd, absl::string_view data, absl::string_view path) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("write", path);
    }
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

enum class Durability { kNow, kLater };

// A new file beside `path` with this content; returns its name.
absl::StatusOr<std::string> WriteTemporary(const std::string& path, absl::string_view data,
                                           mode_t mode, Durability durability) {
  std::string temporary = absl::StrCat(path, ".XXXXXX");
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoStatus("create", path);
  absl::Status status = WriteAll(fd, data, path);
  if (status.ok() && ::fchmod(fd, mode) != 0) status = ErrnoStatus("set mode of", path);
  if (status.ok() && durability == Durability::kNow && ::fsync(fd) != 0) {
    status = ErrnoStatus("sync", path);
  }
  if (::close(fd) != 0 && status.ok()) status = ErrnoStatus("close", path);
  if (status.ok()) return temporary;
  ::unlink(temporary.c_str());
  return status;
}

}  // namespace

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  if (folder.empty()) return std::string(name);
  return absl::StrCat(folder, folder.back() == '/' ? "" : "/", name);
}

std::string BaseName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path : path.substr(slash + 1));
}

bool PathExists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

absl::StatusOr<uint64_t> FileBytes(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus("stat", path);
  return static_cast<uint64_t>(info.st_size);
}

absl::Status MakeDirs(const std::string& path) {
  std::string sofar;
  size_t begin = 0;
  while (begin <= path.size()) {
    size_t end = path.find('/', begin);
    if (end == std::string::npos) end = path.size();
    sofar = path.substr(0, end);
    if (!sofar.empty() && ::mkdir(sofar.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoStatus("create folder", sofar);
    }
    begin = end + 1;
  }
  struct stat info;
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(BaseName(path), " is not a folder"));
  }
  return absl::OkStatus();
}

absl::Status SyncDir(const std::string& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus("open folder", folder);
  const int result = ::fsync(fd);
  const absl::Status status = result == 0 ? absl::OkStatus() : ErrnoStatus("sync folder", folder);
  ::close(fd);
  return status;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  if (bytes > bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat(BaseName(path), " has ", bytes, " bytes; at most ", bytes_max, " are read"));
  }
  std::string data(bytes, '\0');
  CSL_RETURN_IF_ERROR(file.ReadAt(0, data.data(), data.size()));
  return data;
}

absl::Status ReplaceFile(const std::string& path, absl::string_view data, mode_t mode) {
  CSL_ASSIGN_OR_RETURN(const std::string temporary,
                       WriteTemporary(path, data, mode, Durability::kLater));
  if (::rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const absl::Status status = ErrnoStatus("rename to", path);
  ::unlink(temporary.c_str());
  return status;
}

absl::Status WriteFileAtomic(const std::string& path, absl::string_view data, mode_t mode) {
  CSL_ASSIGN_OR_RETURN(const std::string temporary,
                       WriteTemporary(path, data, mode, Durability::kNow));
  const absl::Status status = RenameDurably(temporary, path);
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

absl::Status SyncPath(const std::string& path) {
  {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus("open", path);
    const int result = ::fsync(fd);
    const absl::Status status = result == 0 ? absl::OkStatus() : ErrnoStatus("sync", path);
    ::close(fd);
    CSL_RETURN_IF_ERROR(status);
  }
  return SyncDir(FolderOf(path));
}

absl::Status RenameDurably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus("rename to", to);
  return SyncDir(FolderOf(to));
}

absl::StatusOr<File> File::Open(const std::string& path, Mode mode, mode_t permissions) {
  const int flags = mode == Mode::kRead ? O_RDONLY : O_RDWR | O_CREAT;
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, permissions);
  if (fd < 0) return ErrnoStatus("open", path);
  return File(fd, BaseName(path));
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), name_(std::move(other.name_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    name_ = std::move(other.name_);
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status File::ReadAt(uint64_t offset, char* out, size_t size) const {
  while (size > 0) {
    const ssize_t got = ::pread(fd_, out, size, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("read", name_);
    }
    if (got == 0) return absl::OutOfRangeError(absl::StrCat(name_, " ends too early"));
    out += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status File::WriteAt(uint64_t offset, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("write", name_);
    }
    data.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status File::WriteAt(uint64_t offset, absl::Span<const absl::string_view> pieces) {
  while (!pieces.empty()) {
    const size_t count = std::min<size_t>(pieces.size(), kVectorsMax);
    iovec vectors[kVectorsMax];
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      vectors[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
      bytes += pieces[i].size();
    }
    const ssize_t written =
        ::pwritev(fd_, vectors, static_cast<int>(count), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus("write", name_);
    if (static_cast<size_t>(written) != bytes) {  // rare: the rest one by one
      for (size_t i = 0, skip = static_cast<size_t>(written); i < count; ++i) {
        const size_t done = std::min(skip, pieces[i].size());
        skip -= done;
        CSL_RETURN_IF_ERROR(WriteAt(offset + done, pieces[i].substr(done)));
        offset += pieces[i].size();
      }
    } else {
      offset += bytes;
    }
    pieces.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status File::Truncate(uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return ErrnoStatus("truncate", name_);
  return absl::OkStatus();
}

absl::Status File::Sync() {
  if (::fsync(fd_) != 0) return ErrnoStatus("sync", name_);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> File::Bytes() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return ErrnoStatus("stat", name_);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(name_, " is not a regular file"));
  }
  return static_cast<uint64_t>(info.st_size);
}

absl::StatusOr<TempDir> TempDir::Create(absl::string_view prefix) {
  const char* base = std::getenv("TMPDIR");
  std::string path =
      absl::StrCat(base != nullptr && *base != '\0' ? base : "/tmp", "/", prefix, ".XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) return ErrnoStatus("create folder", path);
  return TempDir(std::move(path));
}

TempDir::TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, "")) {}

TempDir::~TempDir() {
  if (path_.empty()) return;
  std::error_code ignored;  // a destructor has nobody to tell; the folder is temporary anyway
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace consilium
