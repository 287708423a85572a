#include "privacy/deid/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// Below this a read is cheaper than a mapping and its page faults.
constexpr size_t kReadBytesMax = 64 * 1024;

absl::Status ReadAll(int fd, size_t bytes, std::string& out) {
  out.resize(bytes);
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = pread(fd, out.data() + done, bytes - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::InvalidArgumentError("a file cannot be read");
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: a pipe that somebody left in an archive must not hang the intake.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::NotFoundError("no such file");
    return absl::InvalidArgumentError("a file cannot be opened");
  }
  MappedFile file;
  absl::Status status;
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    status = absl::InvalidArgumentError("not a regular file");
  } else if (static_cast<size_t>(info.st_size) <= kReadBytesMax) {
    status = ReadAll(fd, static_cast<size_t>(info.st_size), file.small_);
  } else {
    void* map = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      status = absl::InvalidArgumentError("a file cannot be mapped");
    } else {
      file.map_ = static_cast<char*>(map);
      file.map_bytes_ = static_cast<size_t>(info.st_size);
    }
  }
  close(fd);
  if (!status.ok()) return status;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : small_(std::move(other.small_)),
      map_(std::exchange(other.map_, nullptr)),
      map_bytes_(std::exchange(other.map_bytes_, 0)) {}

MappedFile::~MappedFile() {
  if (map_ != nullptr) munmap(map_, map_bytes_);
}

}  // namespace consilium::privacy
