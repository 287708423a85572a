// Files, written so that a crash leaves the old content or the new one, never half.
//
// Error messages name the path only by its last component: folders at a hospital may carry an
// identity.
#ifndef CONSILIUM_PROTO_BASE_FILE_H_
#define CONSILIUM_PROTO_BASE_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium {

inline constexpr mode_t kPrivateFile = 0600;
inline constexpr mode_t kPublicFile = 0644;

// The whole file. NOT_FOUND; RESOURCE_EXHAUSTED: longer than `bytes_max`.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max);

// Replaces `path` atomically and durably: temporary file, fsync, rename, fsync of the folder.
absl::Status WriteFileAtomic(const std::string& path, absl::string_view data,
                             mode_t mode = kPublicFile);

// The same without waiting for the disk: a crash of the process leaves the old or the new content,
// a power cut may leave neither until SyncPath.
absl::Status ReplaceFile(const std::string& path, absl::string_view data,
                         mode_t mode = kPublicFile);

// Makes a file's content durable, and its name in its folder.
absl::Status SyncPath(const std::string& path);

// Renames a file whose content is already synced, and syncs the folder: after it the new name
// stays.
absl::Status RenameDurably(const std::string& from, const std::string& to);

// Like mkdir -p; new folders get 0700.
absl::Status MakeDirs(const std::string& path);
bool PathExists(const std::string& path);
absl::StatusOr<uint64_t> FileBytes(const std::string& path);
std::string JoinPath(absl::string_view folder, absl::string_view name);
std::string BaseName(absl::string_view path);
// Makes a finished rename or file creation inside `folder` durable.
absl::Status SyncDir(const std::string& folder);

// An open file with positioned reads and writes. Closes on destruction. Thread-compatible.
class File {
 public:
  enum class Mode { kRead, kReadWriteCreate };
  static absl::StatusOr<File> Open(const std::string& path, Mode mode,
                                   mode_t permissions = kPrivateFile);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  // Reads exactly `size` bytes into `out`. OUT_OF_RANGE: the file ends before.
  absl::Status ReadAt(uint64_t offset, char* out, size_t size) const;
  absl::Status WriteAt(uint64_t offset, absl::string_view data);
  // The pieces one after the other, in one call of the system where it takes them all.
  absl::Status WriteAt(uint64_t offset, absl::Span<const absl::string_view> pieces);
  absl::Status Truncate(uint64_t size);
  absl::Status Sync();
  absl::StatusOr<uint64_t> Bytes() const;

 private:
  File(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  int fd_ = -1;
  std::string name_;
};

// A fresh folder under $TMPDIR (or /tmp), removed with its content on destruction.
class TempDir {
 public:
  static absl::StatusOr<TempDir> Create(absl::string_view prefix);
  TempDir(TempDir&& other) noexcept;
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_FILE_H_
