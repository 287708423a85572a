// A tar archive as an image layer wants it: the same entries give the same bytes.
//
// Format: POSIX.1-2001 (pax) on USTAR. Sorted by path, owner 0:0, time 0, every path once, parent
// folders added. A pax header appears only where USTAR has no room (long path or link).
#ifndef CONSILIUM_COORDINATOR_PUBLISH_TAR_WRITER_H_
#define CONSILIUM_COORDINATOR_PUBLISH_TAR_WRITER_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium::publish {

struct TarEntry {
  enum class Kind { kFile, kFolder, kLink };
  Kind kind = Kind::kFile;
  mode_t mode = 0644;
  std::string content;  // of a file that has no `source`
  std::string source;   // a file on this machine whose content to take
  std::string target;   // of a symbolic link
};

// A tree to be archived. Paths are relative ("app/bin/x"), without "." or "..".
// Thread-compatible.
class TarTree {
 public:
  void AddFile(const std::string& path, std::string content, mode_t mode = 0644);
  void AddFileFrom(const std::string& path, std::string source, mode_t mode = 0644);
  void AddFolder(const std::string& path, mode_t mode = 0755);
  void AddLink(const std::string& path, std::string target);
  const std::map<std::string, TarEntry>& entries() const { return entries_; }

 private:
  // Ends the process on a path that is not as above: all paths are our own.
  void Add(const std::string& path, TarEntry entry);
  std::map<std::string, TarEntry> entries_;
};

using TarSink = std::function<absl::Status(absl::string_view)>;

// Hands the archive to `sink` in pieces of at most 1 MiB; files are read as they are written.
// UNAVAILABLE: a source changed its size meanwhile.
absl::Status WriteTar(const TarTree& tree, const TarSink& sink);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_TAR_WRITER_H_
