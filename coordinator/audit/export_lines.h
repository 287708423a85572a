// The lines of an export (FORMAT.md section 5), read one by one.
//
// Errors: INVALID_ARGUMENT names the key that is missing, repeated or wrong. Functions are
// thread-safe; LineReader is thread-compatible. Memory: one line, at most kExportLineBytesMax.
#ifndef CONSILIUM_COORDINATOR_AUDIT_EXPORT_LINES_H_
#define CONSILIUM_COORDINATOR_AUDIT_EXPORT_LINES_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/transparency/export_writer.h"
#include "privacy/transparency/merkle.h"

namespace consilium::coordinator {

struct ExportLine {
  enum class Kind { kHeader, kEntry, kNode, kTile, kEnd };
  Kind kind = Kind::kEnd;
  privacy::ExportHeader header;  // kHeader
  uint64_t index = 0;            // kEntry, kNode: its first entry; kTile: the block's number
  int level = 0;                 // kNode: it stands for 2^level entries
  privacy::Hash hash{};          // kEntry: the leaf as listed; kNode
  std::string entry;             // kEntry: exact bytes
  std::vector<privacy::OpenedCommitment> opened;  // kEntry
  std::vector<privacy::Hash> proof;               // kTile
  uint64_t shown = 0;                             // kEnd
  uint64_t withheld = 0;                          // kEnd
};

absl::StatusOr<ExportLine> ParseExportLine(absl::string_view line);

// Where a reader of lines gets its bytes from: fills `out` with up to `size` bytes, returns how many;
// 0 at the end.
using ByteSource = std::function<absl::StatusOr<size_t>(char* out, size_t size)>;

class LineReader {
 public:
  explicit LineReader(ByteSource source);
  // The next line without its newline. OUT_OF_RANGE: there is none. INVALID_ARGUMENT: longer than
  // kExportLineBytesMax, or the last line has no newline (the file was cut).
  absl::StatusOr<absl::string_view> Next();

 private:
  ByteSource source_;
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// A file as a source; closed with it. NOT_FOUND.
absl::StatusOr<ByteSource> FileSource(const std::string& path);
ByteSource TextSource(absl::string_view text);  // `text` must outlive it

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_EXPORT_LINES_H_
