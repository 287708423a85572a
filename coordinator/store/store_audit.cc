// Reading the audit log: entries, proofs, the check of the whole; and erasing names.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/audit_index.h"
#include "coordinator/store/store.h"
#include "coordinator/store/store_rep.h"
#include "privacy/transparency/commitment.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Hash;

constexpr size_t kErasedInBatch = 1024;
constexpr const char* kCheckpointKeys[] = {"checkpoint.newest", "checkpoint.witnessed"};

absl::Status TooSmall(uint64_t size, uint64_t asked) {
  return absl::OutOfRangeError(
      absl::StrCat("the audit log has ", size, " entries, not ", asked));
}

}  // namespace

absl::Status FirstBadIndex(uint64_t index, absl::string_view how) {
  return absl::DataLossError(
      absl::StrCat("audit log: the first bad index is ", index, ": ", how,
                   "; restore a backup that holds the log, and keep this one as evidence"));
}

uint64_t Store::AuditSize() const { return State()->size(); }

absl::StatusOr<std::string> Store::Tile(int level, uint64_t index) const {
  std::string bytes;
  const rocksdb::Status found = rep_->db->Get(
      rocksdb::ReadOptions(), rep_->family(Family::kAuditTiles), TileKey(level, index), &bytes);
  if (found.IsNotFound()) {
    return FirstBadIndex(index << (kTileHeight * (level + 1)),
                    absl::StrCat("tile ", level, "/", index, " is missing"));
  }
  CSL_RETURN_IF_ERROR(FromRocks(found, "read a tile"));
  return bytes;
}

privacy::NodeReader Store::AuditNodes() const {
  const std::shared_ptr<const AuditState> state = State();
  const privacy::NodeReader nodes = state->tree.Reader(
      [this](int level, uint64_t index) { return Tile(level, index); });
  return [state, nodes](int level, uint64_t index) { return nodes(level, index); };
}

absl::StatusOr<Hash> Store::RootAt(uint64_t size) const {
  const privacy::NodeReader nodes = AuditNodes();
  if (size > AuditSize()) return TooSmall(AuditSize(), size);
  return privacy::RootOf(size, nodes);
}

absl::StatusOr<std::vector<Hash>> Store::InclusionProof(uint64_t index, uint64_t size) const {
  const uint64_t have = AuditSize();
  if (size > have || index >= size) return TooSmall(std::min(have, size), index);
  return privacy::InclusionProof(index, size, AuditNodes());
}

absl::StatusOr<std::vector<Hash>> Store::ConsistencyProof(uint64_t old_size,
                                                          uint64_t new_size) const {
  const uint64_t have = AuditSize();
  if (new_size > have || old_size > new_size) return TooSmall(std::min(have, new_size), old_size);
  if (old_size == 0) return std::vector<Hash>();
  return privacy::ConsistencyProof(old_size, new_size, AuditNodes());
}

absl::StatusOr<std::vector<AuditDisclosure>> Store::Disclosures(uint64_t index) const {
  std::vector<AuditDisclosure> disclosed;
  const std::string prefix = BigEndian64(index);
  CSL_RETURN_IF_ERROR(Walk(
      Family::kAuditSalts, prefix,
      [&](absl::string_view key, absl::string_view value) -> absl::StatusOr<bool> {
        if (!absl::StartsWith(key, prefix)) return false;
        if (value.size() < privacy::kSaltBytes) {
          return absl::DataLossError(absl::StrCat("audit log: a salt of entry ", index, " is short"));
        }
        disclosed.push_back({std::string(key.substr(prefix.size())),
                             std::string(value.substr(0, privacy::kSaltBytes)),
                             std::string(value.substr(privacy::kSaltBytes))});
        return true;
      }));
  return disclosed;
}

absl::StatusOr<AuditLine> Store::AuditEntry(uint64_t index) const {
  if (index >= AuditSize()) return TooSmall(AuditSize(), index + 1);
  AuditLine line;
  line.index = index;
  const rocksdb::Status found = rep_->db->Get(
      rocksdb::ReadOptions(), rep_->family(Family::kAudit), BigEndian64(index), &line.json);
  if (found.IsNotFound()) return FirstBadIndex(index, "the entry is missing");
  CSL_RETURN_IF_ERROR(FromRocks(found, "read an entry"));
  CSL_ASSIGN_OR_RETURN(line.disclosed, Disclosures(index));
  return line;
}

absl::Status Store::VisitAudit(
    uint64_t from, uint64_t to,
    absl::FunctionRef<absl::StatusOr<bool>(const AuditLine&)> visit) const {
  to = std::min(to, AuditSize());
  for (uint64_t index = from; index < to; ++index) {
    CSL_ASSIGN_OR_RETURN(const AuditLine line, AuditEntry(index));
    CSL_ASSIGN_OR_RETURN(const bool more, visit(line));
    if (!more) break;
  }
  return absl::OkStatus();
}

absl::Status Store::VerifyAudit(uint64_t from) const {
  const std::shared_ptr<const AuditState> state = State();
  const uint64_t in_tiles = state->size() / kTileHashes * kTileHashes;
  std::vector<Hash> tile_hashes;
  uint64_t expected = from / kTileHashes * kTileHashes;
  const auto leaf_in_tree = [&](uint64_t index) -> absl::StatusOr<Hash> {
    if (index >= in_tiles) return state->tree.Leaf(index);
    if (tile_hashes.empty() || index % kTileHashes == 0) {
      AuditTile tile = {0, index / kTileHashes, {}};
      CSL_ASSIGN_OR_RETURN(tile.bytes, Tile(0, tile.index));
      CSL_ASSIGN_OR_RETURN(tile_hashes, TileHashes(tile));
    }
    return tile_hashes[index % kTileHashes];
  };
  CSL_RETURN_IF_ERROR(Walk(
      Family::kAudit, BigEndian64(expected),
      [&](absl::string_view key, absl::string_view entry) -> absl::StatusOr<bool> {
        if (expected == state->size()) return false;  // committed since
        if (key != BigEndian64(expected)) return FirstBadIndex(expected, "the entry is missing");
        const Hash leaf = privacy::LeafHash(entry);
        CSL_ASSIGN_OR_RETURN(const Hash in_tree, leaf_in_tree(expected));
        const absl::StatusOr<AuditView> view = DecodeAudit(entry);
        if (leaf != in_tree || !view.ok() || view->stamp.index != expected) {
          return FirstBadIndex(expected, "the entry and its hash in the tree do not agree");
        }
        if (expected >= in_tiles) {
          // The last tile is made of the entries themselves; their hashes are also in the index.
          CSL_ASSIGN_OR_RETURN(const bool same, IndexedLeafIs(*view, leaf, state->clock_run));
          if (!same) return FirstBadIndex(expected, "the entry is not what was committed");
        }
        ++expected;
        return true;
      }));
  if (expected != state->size()) return FirstBadIndex(expected, "the entry is missing");
  // Each tile against the one above, which was written when this one was complete.
  const privacy::NodeReader nodes = AuditNodes();
  for (int level = 0; level < kTileLevelsMax; ++level) {
    const uint64_t tiles = state->size() >> (kTileHeight * (level + 1));
    for (uint64_t n = from >> (kTileHeight * (level + 1)); n < tiles; ++n) {
      AuditTile tile = {level, n, {}};
      CSL_ASSIGN_OR_RETURN(tile.bytes, Tile(level, n));
      CSL_ASSIGN_OR_RETURN(const std::vector<Hash> hashes, TileHashes(tile));
      CSL_ASSIGN_OR_RETURN(const Hash above, nodes(kTileHeight * (level + 1), n));
      if (SubtreeRoot(hashes.data(), hashes.size()) != above) {
        return FirstBadIndex(n << (kTileHeight * (level + 1)),
                        absl::StrCat("tile ", level, "/", n, " and the tile above do not agree"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Store::IndexedLeafIs(const AuditView& view, const Hash& leaf,
                                          uint32_t clock_run) const {
  // The clock may have been set back within the tile: the entry is of this run or one before it.
  for (uint32_t run = clock_run;; --run) {
    std::string stored;
    const rocksdb::Status found =
        rep_->db->Get(rocksdb::ReadOptions(), rep_->family(Family::kAuditIndex),
                      TimeKey(run, view.stamp), &stored);
    if (found.ok()) return stored == privacy::HashBytes(leaf);
    if (!found.IsNotFound()) return FromRocks(found, "read the index");
    if (run == 0 || clock_run - run >= kTileHashes) return false;
  }
}

absl::StatusOr<uint64_t> Store::EraseAuditName(const std::string& name, AuditFacts facts,
                                               absl::Time now) {
  if (name.empty()) return absl::InvalidArgumentError("name: must not be empty");
  CSL_RETURN_IF_ERROR(Writable());
  std::vector<std::pair<Family, std::string>> keys;
  uint64_t erased = 0;
  CSL_RETURN_IF_ERROR(Walk(
      Family::kAuditSalts, "",
      [&](absl::string_view key, absl::string_view value) -> absl::StatusOr<bool> {
        const absl::string_view text = value.substr(std::min(value.size(), privacy::kSaltBytes));
        const bool is_actor = key.substr(std::min<size_t>(key.size(), 8)) == "actor";
        if (is_actor ? text != name : !absl::StrContains(text, name)) return true;
        ++erased;
        keys.emplace_back(Family::kAuditSalts, std::string(key));
        if (is_actor) {
          keys.emplace_back(Family::kAuditIndex, IndexPrefix(IndexKind::kActor, name) +
                                                     std::string(key.substr(0, 8)));
        }
        return true;
      }));
  facts.count = static_cast<int64_t>(erased);
  // All but the last batch only delete; the last records what was done. After a crash in between a
  // repeat finishes it.
  for (size_t begin = 0; begin < keys.size(); begin += kErasedInBatch) {
    rocksdb::WriteBatch write = ProtectedBatch();
    for (size_t i = begin; i < std::min(keys.size(), begin + kErasedInBatch); ++i) {
      CSL_RETURN_IF_ERROR(FromRocks(write.Delete(rep_->family(keys[i].first), keys[i].second), "erase"));
    }
    CSL_RETURN_IF_ERROR(FromRocks(rep_->db->Write(Synced(), &write), "erase"));
  }
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(Commit(batch, now).status());
  // A deleted value is still in older files until they are merged.
  rocksdb::CompactRangeOptions whole;
  whole.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (const Family family : {Family::kAuditSalts, Family::kAuditIndex}) {
    CSL_RETURN_IF_ERROR(
        FromRocks(rep_->db->CompactRange(whole, rep_->family(family), nullptr, nullptr), "erase"));
  }
  return erased;
}

absl::StatusOr<std::string> Store::LoadCheckpoint(CheckpointKind kind) const {
  std::string note;
  CSL_RETURN_IF_ERROR(
      FromRocks(rep_->db->Get(rocksdb::ReadOptions(), rep_->family(Family::kMeta),
                              kCheckpointKeys[static_cast<size_t>(kind)], &note),
                "read the checkpoint"));
  return note;
}

absl::Status Store::SaveCheckpoint(CheckpointKind kind, const std::string& note) {
  CSL_RETURN_IF_ERROR(Writable());
  CSL_RETURN_IF_ERROR(rep_->ballast.CheckSpace());
  rocksdb::WriteBatch write = ProtectedBatch();
  CSL_RETURN_IF_ERROR(
      rep_->Put(write, Family::kMeta, kCheckpointKeys[static_cast<size_t>(kind)], note));
  return FromRocks(rep_->db->Write(Synced(), &write), "write the checkpoint");
}

}  // namespace consilium::coordinator
