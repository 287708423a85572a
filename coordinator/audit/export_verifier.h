// Verifies an export in one pass: FORMAT.md section 5.
//
// Order: a verifier per export; AddLine for each line from the first on, Finish. Memory: O(log size) and
// one block of 256 hashes, whatever the length. Not thread-safe.
//
// Nothing that is wrong with the export is an error of these calls: it goes to the report, each fault with
// its entry where one can be named, and reading goes on as long as there is any sense in it.
#ifndef CONSILIUM_COORDINATOR_AUDIT_EXPORT_VERIFIER_H_
#define CONSILIUM_COORDINATOR_AUDIT_EXPORT_VERIFIER_H_

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/audit/checkpoint_check.h"
#include "coordinator/audit/export_lines.h"
#include "coordinator/audit/report.h"

namespace consilium::coordinator {

// The complete subtrees that cover [start, start + n) from the left, largest first.
class SubtreeStack {
 public:
  void Push(int level, privacy::Hash hash);
  // Folded from the right: the root of the tree that they cover; the empty root for none.
  privacy::Hash Root() const;
  void Clear() { nodes_.clear(); }
  const std::vector<std::pair<int, privacy::Hash>>& nodes() const { return nodes_; }

 private:
  std::vector<std::pair<int, privacy::Hash>> nodes_;
};

class ExportVerifier {
 public:
  // `held`: a checkpoint (the note) that the reviewer has from before; "": none.
  ExportVerifier(const privacy::Policy& policy, std::string held)
      : policy_(policy), held_note_(std::move(held)) {}

  // False: the rest makes no sense, a line is out of its place or does not read; do not go on.
  bool AddLine(const ExportLine& line);
  // A line that does not read, or the end of the file before the end line.
  void AddBroken(absl::string_view why);
  AuditReport Finish() &&;

  uint64_t next_index() const { return next_; }

 private:
  bool AddHeader(const ExportLine& line);
  bool AddEntry(const ExportLine& line);
  bool AddNode(const ExportLine& line);
  bool AddTile(const ExportLine& line);
  bool AddEnd(const ExportLine& line);
  bool InPlace(const ExportLine& line);
  void CheckEntry(const ExportLine& line, const privacy::Hash& computed);
  // After an entry or node: the end of a block, and the size of the held checkpoint.
  void Advance(uint64_t count);
  void CloseBlock(const SubtreeStack& trusted);
  void CheckHeld();

  const privacy::Policy& policy_;
  const std::string held_note_;
  AuditReport report_;
  privacy::ExportHeader header_;
  std::optional<privacy::Checkpoint> checkpoint_;
  std::optional<privacy::Checkpoint> held_;
  std::optional<privacy::Hash> root_at_held_;
  bool saw_header_ = false;
  bool saw_end_ = false;
  bool broken_ = false;
  bool tile_wanted_ = false;
  uint64_t next_ = 0;
  int64_t time_us_max_ = 0;

  SubtreeStack tree_;
  // Of the block that is being read.
  SubtreeStack computed_;
  SubtreeStack listed_;
  bool block_shows_ = false;
  static constexpr uint64_t kNoIndex = ~uint64_t{0};
  uint64_t named_in_block_ = kNoIndex;  // the first entry that is bad by what it says itself
  std::vector<uint64_t> differing_;     // entries that are not what their line lists
};

struct ExportVisit {
  // Called for each entry in its order, verified or not; may be empty.
  std::function<absl::Status(const ExportLine& entry)> on_entry;
  // Called now and then with the bytes read so far; may be empty.
  std::function<void(uint64_t)> on_bytes;
};

// Reads and verifies a whole export. INVALID_ARGUMENT: the first line is no header of an export, so there
// is nothing to verify. Otherwise errors of `source` and of the visitor.
absl::StatusOr<AuditReport> VerifyExport(ByteSource source, const privacy::Policy& policy,
                                         std::string held, const ExportVisit& visit = {});

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_EXPORT_VERIFIER_H_
