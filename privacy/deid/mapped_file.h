// The bytes of one file, read-only: small files are read, large ones mapped.
#ifndef CONSILIUM_PRIVACY_DEID_MAPPED_FILE_H_
#define CONSILIUM_PRIVACY_DEID_MAPPED_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

// Immutable. Views of bytes() end with the object.
class MappedFile {
 public:
  // NOT_FOUND: no such file. INVALID_ARGUMENT: not a regular file. No message names the file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  absl::string_view bytes() const {
    return map_ == nullptr ? absl::string_view(small_) : absl::string_view(map_, map_bytes_);
  }

 private:
  MappedFile() = default;
  std::string small_;
  char* map_ = nullptr;
  size_t map_bytes_ = 0;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_MAPPED_FILE_H_
