#include "coordinator/store/audit_tree.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {

using privacy::Hash;

Hash SubtreeRoot(const Hash* hashes, size_t count) {
  std::vector<Hash> level(hashes, hashes + count);
  for (; count > 1; count /= 2) {
    for (size_t i = 0; i < count / 2; ++i) {
      level[i] = privacy::NodeHash(level[2 * i], level[2 * i + 1]);
    }
  }
  return level[0];
}

absl::StatusOr<std::vector<Hash>> TileHashes(const AuditTile& tile) {
  if (tile.bytes.size() != kTileBytes) {
    return absl::DataLossError(absl::StrCat("audit log: tile ", tile.level, "/", tile.index,
                                            " has ", tile.bytes.size(), " bytes instead of ",
                                            kTileBytes));
  }
  std::vector<Hash> hashes(kTileHashes);
  for (size_t i = 0; i < kTileHashes; ++i) {
    std::memcpy(hashes[i].data(), tile.bytes.data() + i * privacy::kHashBytes,
                privacy::kHashBytes);
  }
  return hashes;
}

absl::StatusOr<AuditTree> AuditTree::Rebuild(uint64_t size, const std::vector<Hash>& leaves,
                                             const TileReader& read) {
  CSL_CHECK(leaves.size() == size % kTileHashes);
  AuditTree tree;
  tree.size_ = size;
  tree.edge_.push_back(leaves);
  // A level's partial tile holds the roots of the last full tiles of the level below.
  for (uint64_t full = size / kTileHashes; full > 0; full /= kTileHashes) {
    const int below = static_cast<int>(tree.edge_.size()) - 1;
    std::vector<Hash> roots;
    for (uint64_t n = full / kTileHashes * kTileHashes; n < full; ++n) {
      AuditTile tile = {below, n, {}};
      CSL_ASSIGN_OR_RETURN(tile.bytes, read(below, n));
      CSL_ASSIGN_OR_RETURN(const std::vector<Hash> hashes, TileHashes(tile));
      roots.push_back(SubtreeRoot(hashes.data(), hashes.size()));
    }
    tree.edge_.push_back(std::move(roots));
  }
  return tree;
}

void AuditTree::Append(const Hash& leaf, std::vector<AuditTile>& full) {
  Hash hash = leaf;
  ++size_;
  uint64_t number = size_;  // of hashes that the level has
  for (size_t level = 0;; ++level) {
    if (edge_.size() <= level) edge_.emplace_back();
    std::vector<Hash>& partial = edge_[level];
    partial.push_back(hash);
    if (partial.size() < kTileHashes) return;
    number /= kTileHashes;
    AuditTile tile = {static_cast<int>(level), number - 1, std::string(kTileBytes, '\0')};
    for (size_t i = 0; i < kTileHashes; ++i) {
      std::memcpy(tile.bytes.data() + i * privacy::kHashBytes, partial[i].data(),
                  privacy::kHashBytes);
    }
    full.push_back(std::move(tile));
    hash = SubtreeRoot(partial.data(), partial.size());
    partial.clear();
  }
}

absl::StatusOr<Hash> AuditTree::Node(int level, uint64_t index, const TileReader& read) const {
  // The hashes of tile level L that the subtree is made of: [first, first + count).
  const int tile_level = level / kTileHeight;
  const int rest = level % kTileHeight;
  const uint64_t count = uint64_t{1} << rest;
  const uint64_t first = index << rest;
  const uint64_t tile = first / kTileHashes;
  const uint64_t have = tile_level == 0 ? size_ : size_ >> (kTileHeight * tile_level);
  if (first + count > have) {
    return absl::InternalError(absl::StrCat("audit log: node ", level, "/", index,
                                            " of a tree of ", size_));
  }
  if (tile == have / kTileHashes) {
    return SubtreeRoot(edge_[static_cast<size_t>(tile_level)].data() + first % kTileHashes, count);
  }
  AuditTile stored = {tile_level, tile, {}};
  CSL_ASSIGN_OR_RETURN(stored.bytes, read(tile_level, tile));
  CSL_ASSIGN_OR_RETURN(const std::vector<Hash> hashes, TileHashes(stored));
  return SubtreeRoot(hashes.data() + first % kTileHashes, count);
}

privacy::NodeReader AuditTree::Reader(TileReader read) const {
  using Key = std::pair<int, uint64_t>;
  auto kept = std::make_shared<std::map<Key, std::string>>();
  const TileReader keeping = [read = std::move(read), kept](
                                 int level, uint64_t index) -> absl::StatusOr<std::string> {
    const auto it = kept->find({level, index});
    if (it != kept->end()) return it->second;
    CSL_ASSIGN_OR_RETURN(std::string bytes, read(level, index));
    return kept->emplace(Key{level, index}, std::move(bytes)).first->second;
  };
  return [this, keeping](int level, uint64_t index) { return Node(level, index, keeping); };
}

Hash AuditTree::Root() const {
  const absl::StatusOr<Hash> root = privacy::RootOf(
      size_, Reader([](int, uint64_t) -> absl::StatusOr<std::string> {
        return absl::InternalError("the edge alone gives the root");
      }));
  CSL_CHECK(root.ok());
  return *root;
}

}  // namespace consilium::coordinator
