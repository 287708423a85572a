#include "coordinator/audit/export_verifier.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/audit/entry_view.h"
#include "privacy/transparency/commitment.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Hash;
using privacy::kExportBlock;
using privacy::kExportBlockLevel;

}  // namespace

void SubtreeStack::Push(int level, Hash hash) {
  while (!nodes_.empty() && nodes_.back().first == level) {
    hash = privacy::NodeHash(nodes_.back().second, hash);
    nodes_.pop_back();
    ++level;
  }
  nodes_.emplace_back(level, hash);
}

Hash SubtreeStack::Root() const {
  if (nodes_.empty()) return privacy::EmptyRoot();
  Hash root = nodes_.back().second;
  for (size_t i = nodes_.size() - 1; i-- > 0;) root = privacy::NodeHash(nodes_[i].second, root);
  return root;
}

bool ExportVerifier::AddLine(const ExportLine& line) {
  if (broken_) return false;
  if (saw_header_ == (line.kind == ExportLine::Kind::kHeader)) {
    AddBroken(saw_header_ ? "a second header" : "the first line is not the header");
    return false;
  }
  if (saw_end_) {
    AddBroken("a line after the end line");
    return false;
  }
  if (tile_wanted_ && line.kind != ExportLine::Kind::kTile) {
    report_.Fault((next_ - 1) / kExportBlock * kExportBlock,
                  "the tile line of its block is missing");
    broken_ = true;
    return false;
  }
  bool sense = false;
  switch (line.kind) {
    case ExportLine::Kind::kHeader: sense = AddHeader(line); break;
    case ExportLine::Kind::kEntry: sense = AddEntry(line); break;
    case ExportLine::Kind::kNode: sense = AddNode(line); break;
    case ExportLine::Kind::kTile: sense = AddTile(line); break;
    case ExportLine::Kind::kEnd: sense = AddEnd(line); break;
  }
  broken_ = broken_ || !sense;
  return sense;
}

void ExportVerifier::AddBroken(absl::string_view why) {
  if (std::exchange(broken_, true)) return;
  std::optional<uint64_t> at;
  if (saw_header_ && !saw_end_ && next_ < header_.size) at = next_;
  report_.Fault(at, std::string(why));
}

bool ExportVerifier::AddHeader(const ExportLine& line) {
  saw_header_ = true;
  header_ = line.header;
  report_.kind = "export";
  report_.from = header_.from;
  report_.to = header_.to;
  report_.filter = header_.filter;
  report_.origin = header_.origin;
  report_.size = header_.size;
  checkpoint_ = CheckCheckpoint(header_.checkpoint, policy_, report_);
  if (checkpoint_ &&
      (checkpoint_->origin != header_.origin || checkpoint_->size != header_.size)) {
    report_.Fault(std::nullopt, absl::StrCat("the header says ", header_.size,
                                             " entries, its checkpoint is of ", checkpoint_->size,
                                             " or of another log"));
    return false;
  }
  // Without the log's signature its root says nothing about any entry.
  if (report_.log_key.empty()) checkpoint_.reset();
  if (!held_note_.empty()) {
    held_ = CheckHeldCheckpoint(held_note_, policy_, header_.origin, report_);
    if (held_ && held_->size == 0) root_at_held_ = privacy::EmptyRoot();
    if (held_ && held_->size > header_.size) {
      report_.Fault(header_.size,
                    absl::StrCat("the log had ", held_->size, " entries under the held "
                                 "checkpoint, this export is of ", header_.size,
                                 ": its tail is missing"));
    }
  }
  return true;
}

bool ExportVerifier::InPlace(const ExportLine& line) {
  if (line.index == next_ && line.index < header_.size) return true;
  report_.Fault(std::min(next_, line.index),
                line.index > next_
                    ? absl::StrCat("missing; the line that follows is for ", line.index)
                    : absl::StrCat("comes after it was covered already; ", next_, " is next"));
  return false;
}

bool ExportVerifier::AddEntry(const ExportLine& line) {
  if (!InPlace(line)) return false;
  if (next_ < header_.from || next_ >= header_.to) {
    report_.Fault(next_, "an entry outside the range of the header");
    return false;
  }
  ++report_.shown;
  const Hash computed = privacy::LeafHash(line.entry);
  CheckEntry(line, computed);
  computed_.Push(0, computed);
  listed_.Push(0, line.hash);
  block_shows_ = true;
  Advance(1);
  return true;
}

void ExportVerifier::CheckEntry(const ExportLine& line, const Hash& computed) {
  if (computed != line.hash) differing_.push_back(line.index);
  const absl::StatusOr<EntryStamp> stamp = ReadEntryStamp(line.entry);
  if (!stamp.ok()) {
    named_in_block_ = std::min(named_in_block_, line.index);
    report_.Fault(line.index, std::string(stamp.status().message()));
    return;
  }
  if (stamp->index != line.index) {
    named_in_block_ = std::min(named_in_block_, line.index);
    report_.Fault(line.index, absl::StrCat("holds the entry that calls itself ", stamp->index,
                                           ": exchanged, renumbered or altered"));
  }
  if (report_.shown > 1 && stamp->time_us < time_us_max_) {
    report_.Flag(line.index, absl::StrCat("its time is ", time_us_max_ - stamp->time_us,
                                          " us before that of an earlier entry"));
  }
  time_us_max_ = report_.shown == 1 ? stamp->time_us : std::max(time_us_max_, stamp->time_us);
  for (const privacy::OpenedCommitment& one : line.opened) {
    if (!HoldsCommitment(line.entry, one.commitment)) {
      report_.Fault(line.index, "discloses a value for a commitment that it does not hold");
    } else if (!privacy::VerifyCommitment(one.salt, one.value, one.commitment).ok()) {
      report_.Fault(line.index, "a disclosed value is not the one that it was committed to");
    } else {
      ++report_.disclosed;
    }
  }
}

bool ExportVerifier::AddNode(const ExportLine& line) {
  if (!InPlace(line)) return false;
  const uint64_t count = uint64_t{1} << line.level;
  const uint64_t end = next_ + count;
  if (end > header_.size || (next_ < header_.from && end > header_.from) ||
      (next_ < header_.to && end > header_.to)) {
    report_.Fault(next_, absl::StrCat("a node of ", count, " entries crosses the range's edge"));
    return false;
  }
  if (next_ >= header_.from && next_ < header_.to) report_.withheld += count;
  if (line.level > kExportBlockLevel) {
    tree_.Push(line.level, line.hash);
  } else {
    computed_.Push(line.level, line.hash);
    listed_.Push(line.level, line.hash);
  }
  Advance(count);
  return true;
}

void ExportVerifier::Advance(uint64_t count) {
  next_ += count;
  if (held_ && next_ == held_->size) {
    SubtreeStack all = tree_;
    for (const auto& [level, hash] : computed_.nodes()) all.Push(level, hash);
    root_at_held_ = all.Root();
  }
  if (next_ % kExportBlock != 0 && next_ != header_.size) return;
  if (block_shows_) {
    tile_wanted_ = true;
  } else {
    CloseBlock(computed_);
  }
}

void ExportVerifier::CloseBlock(const SubtreeStack& trusted) {
  const auto nodes = trusted.nodes();
  for (const auto& [level, hash] : nodes) tree_.Push(level, hash);
  computed_.Clear();
  listed_.Clear();
  differing_.clear();
  named_in_block_ = kNoIndex;
  block_shows_ = false;
  tile_wanted_ = false;
}

bool ExportVerifier::AddTile(const ExportLine& line) {
  const uint64_t block = next_ == 0 ? 0 : (next_ - 1) / kExportBlock;
  if (!tile_wanted_ || line.index != block) {
    AddBroken("a tile line out of its place");
    return false;
  }
  const uint64_t first = block * kExportBlock;
  const uint64_t blocks = (header_.size + kExportBlock - 1) / kExportBlock;
  const auto reaches = [&](const SubtreeStack& stack) {
    return checkpoint_ &&
           privacy::VerifyInclusion(stack.Root(), block, blocks, line.proof, checkpoint_->root).ok();
  };
  if (reaches(listed_)) {
    for (const uint64_t index : differing_) {
      report_.Fault(index, "altered: its bytes do not have the hash under the signed root");
    }
    CloseBlock(listed_);
    return true;
  }
  const bool bytes_hold = reaches(computed_);
  for (const uint64_t index : differing_) {
    report_.Fault(index, bytes_hold
                             ? "the hash that its line lists was altered; its bytes are as signed"
                             : "its bytes do not have its hash");
    named_in_block_ = std::min(named_in_block_, index);
  }
  if (checkpoint_ && !bytes_hold) {
    report_.Fault(named_in_block_ == kNoIndex ? first : named_in_block_,
                  absl::StrCat(named_in_block_ == kNoIndex ? "this or a later one"
                                                           : "this one, and perhaps others",
                               " of entries [", first, ", ", next_,
                               ") altered: the block is not under the signed root"));
  }
  CloseBlock(computed_);
  return true;
}

bool ExportVerifier::AddEnd(const ExportLine& line) {
  saw_end_ = true;
  if (next_ != header_.size) {
    report_.Fault(next_, absl::StrCat("missing, with all that follow up to ", header_.size));
    return false;
  }
  if (line.shown != report_.shown || line.withheld != report_.withheld) {
    report_.Fault(std::nullopt,
                  absl::StrCat("the end line counts ", line.shown, " shown and ", line.withheld,
                               " withheld, there are ", report_.shown, " and ", report_.withheld));
  }
  if (checkpoint_ && tree_.Root() != checkpoint_->root && report_.faults.empty()) {
    report_.Fault(std::nullopt,
                  "the tree does not have the signed root: the hash of an entry that is not shown "
                  "was altered");
  }
  CheckHeld();
  return true;
}

void ExportVerifier::CheckHeld() {
  if (!held_ || !checkpoint_ || held_->size > header_.size) return;
  if (CompareSameSize(*held_, *checkpoint_, report_)) return;
  if (!root_at_held_) {
    report_.Fault(std::nullopt,
                  absl::StrCat("this export cannot show that it continues the held checkpoint of ",
                               held_->size, " entries: export a range that begins or ends at ",
                               held_->size, ", or everything"));
  } else if (*root_at_held_ != held_->root) {
    report_.Fault(std::nullopt,
                  absl::StrCat("the first ", held_->size, " entries are not those of the held "
                               "checkpoint: history was rewritten, or the log is forked"));
  } else {
    report_.consistency =
        absl::StrCat("continues the held checkpoint of ", held_->size, " entries");
  }
}

AuditReport ExportVerifier::Finish() && {
  if (!saw_end_ && !broken_) {
    AddBroken("the file ends before its end line: this and what follows is missing");
  }
  return std::move(report_);
}

absl::StatusOr<AuditReport> VerifyExport(ByteSource source, const privacy::Policy& policy,
                                         std::string held, const ExportVisit& visit) {
  uint64_t bytes = 0;
  LineReader reader([&](char* out, size_t size) -> absl::StatusOr<size_t> {
    CSL_ASSIGN_OR_RETURN(const size_t got, source(out, size));
    bytes += got;
    if (visit.on_bytes) visit.on_bytes(bytes);
    return got;
  });
  ExportVerifier verifier(policy, std::move(held));
  bool first = true;
  for (;;) {
    const absl::StatusOr<absl::string_view> text = reader.Next();
    if (absl::IsOutOfRange(text.status())) break;
    if (text.status().code() == absl::StatusCode::kDataLoss) return text.status();
    absl::StatusOr<ExportLine> line =
        text.ok() ? ParseExportLine(*text) : absl::StatusOr<ExportLine>(text.status());
    if (std::exchange(first, false) && (!line.ok() || line->kind != ExportLine::Kind::kHeader)) {
      return absl::InvalidArgumentError(
          absl::StrCat("not an export of an audit log: ",
                       line.ok() ? "its first line is not a header" : line.status().message()));
    }
    if (!line.ok()) {
      verifier.AddBroken(absl::StrCat("its line does not read: ", line.status().message()));
      break;
    }
    if (!verifier.AddLine(*line)) break;
    if (line->kind == ExportLine::Kind::kEntry && visit.on_entry) {
      CSL_RETURN_IF_ERROR(visit.on_entry(*line));
    }
  }
  if (first) return absl::InvalidArgumentError("not an export of an audit log: empty");
  return std::move(verifier).Finish();
}

}  // namespace consilium::coordinator
