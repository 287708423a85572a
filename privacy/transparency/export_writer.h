// A range of an audit log as a file that proves itself: coordinator/audit/FORMAT.md section 5.
//
// Order: Start, Show for each entry of the range that is to be seen (ascending), Finish. What is not
// shown is withheld: the file then holds the roots of the subtrees in between, so its length depends
// on what is shown, not on how long the log is.
// Memory: O(log size). Not thread-safe. `nodes` and `sink` are called in the caller's thread and must
// outlive the writer; their errors come back unchanged.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_EXPORT_WRITER_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_EXPORT_WRITER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/transparency/merkle.h"

namespace consilium::privacy {

inline constexpr int kExportVersion = 1;
inline constexpr int kExportBlockLevel = 8;  // blocks of 256 entries, as the tiles
inline constexpr uint64_t kExportBlock = uint64_t{1} << kExportBlockLevel;
inline constexpr size_t kExportLineBytesMax = 1024 * 1024;
inline constexpr size_t kAuditEntryBytesMax = 65535;

struct ExportHeader {
  std::string origin;
  uint64_t from = 0;
  uint64_t to = 0;      // exclusive
  uint64_t size = 0;    // of the checkpoint
  std::string filter;   // in words; empty: none
  std::string checkpoint;  // the signed note with every cosignature
};

// A commitment of an entry with what it hides.
struct OpenedCommitment {
  std::string commitment;  // 64 hex digits
  std::string salt;        // 32 bytes
  std::string value;       // UTF-8
};

class ExportWriter {
 public:
  // Takes one or more whole lines.
  using Sink = std::function<absl::Status(absl::string_view)>;

  // Writes the header. INVALID_ARGUMENT: not from <= to <= size.
  static absl::StatusOr<ExportWriter> Start(ExportHeader header, NodeReader nodes, Sink sink);

  // INVALID_ARGUMENT: outside the range, or not after the last one shown, or too long. The leaf hash
  // comes from `nodes`, not from `entry`: a store whose entry was altered convicts itself.
  absl::Status Show(uint64_t index, absl::string_view entry,
                    absl::Span<const OpenedCommitment> opened = {});
  // Writes what is left up to the end line; nothing may follow.
  absl::Status Finish();

  uint64_t shown() const { return shown_; }

 private:
  ExportWriter(ExportHeader header, NodeReader nodes, Sink sink)
      : header_(std::move(header)), nodes_(std::move(nodes)), sink_(std::move(sink)) {}
  absl::Status CoverTo(uint64_t index);
  absl::Status EndBlock();

  ExportHeader header_;
  NodeReader nodes_;
  Sink sink_;
  uint64_t next_ = 0;
  uint64_t shown_ = 0;
  bool block_shows_ = false;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_EXPORT_WRITER_H_
