#include "privacy/deid/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// Below this a read is cheaper than a mapping and its page faults.
constexpr size_t kHeadBytes = 32 * 1024;

absl::Status ReadPart(int fd, size_t offset, size_t bytes, char* out) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = pread(fd, out + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::InvalidArgumentError("a file cannot be read");
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::OpenHead(const std::string& path) {
  // O_NONBLOCK: a pipe that somebody left in an archive must not hang the intake.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::NotFoundError("no such file");
    return absl::InvalidArgumentError("a file cannot be opened");
  }
  MappedFile file(fd);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError("not a regular file");
  }
  file.size_ = static_cast<size_t>(info.st_size);
  file.head_.resize(std::min(file.size_, kHeadBytes));
  CSL_RETURN_IF_ERROR(ReadPart(fd, 0, file.head_.size(), file.head_.data()));
  return file;
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(MappedFile file, OpenHead(path));
  CSL_RETURN_IF_ERROR(file.MapAll());
  return file;
}

absl::Status MappedFile::MapAll() {
  if (map_ != nullptr || size_ == head_.size()) return absl::OkStatus();
  void* map = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (map == MAP_FAILED) return absl::InvalidArgumentError("a file cannot be mapped");
  map_ = static_cast<char*>(map);
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> MappedFile::Read(size_t offset, size_t length, char* room) const {
  if (offset + length <= bytes().size()) return bytes().substr(offset, length);
  CSL_RETURN_IF_ERROR(ReadPart(fd_, offset, length, room));
  return absl::string_view(room, length);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)),
      head_(std::move(other.head_)),
      map_(std::exchange(other.map_, nullptr)) {}

MappedFile::~MappedFile() {
  if (map_ != nullptr) munmap(map_, size_);
  if (fd_ >= 0) close(fd_);
}

}  // namespace consilium::privacy
