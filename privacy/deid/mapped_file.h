// The bytes of one file, read-only: small files are read, large ones mapped.
//
// Pages of a mapping cost more than reading them once, from the front: who may be content with a
// file's head opens that, and what is only passed on is read.
#ifndef CONSILIUM_PRIVACY_DEID_MAPPED_FILE_H_
#define CONSILIUM_PRIVACY_DEID_MAPPED_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

// Immutable. Views of bytes() end with the object.
class MappedFile {
 public:
  // NOT_FOUND: no such file. INVALID_ARGUMENT: not a regular file. No message names the file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  // The same, but bytes() are the first 32 KiB until MapAll.
  static absl::StatusOr<MappedFile> OpenHead(const std::string& path);
  // INVALID_ARGUMENT: the file cannot be mapped. Views of bytes() from before stay valid.
  absl::Status MapAll();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  absl::string_view bytes() const {
    return map_ == nullptr ? absl::string_view(head_) : absl::string_view(map_, size_);
  }
  size_t size() const { return size_; }  // of the file
  // A part of the file, as a view or of `room` (`length` bytes) into which it was read.
  // INVALID_ARGUMENT: the file has become shorter, or cannot be read.
  absl::StatusOr<absl::string_view> Read(size_t offset, size_t length, char* room) const;

 private:
  explicit MappedFile(int fd) : fd_(fd) {}
  int fd_;
  size_t size_ = 0;
  std::string head_;
  char* map_ = nullptr;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_MAPPED_FILE_H_
