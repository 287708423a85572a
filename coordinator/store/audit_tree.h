// The coordinator's Merkle tree: full tiles on disk, the right edge in memory.
//
// Tiles are those of C2SP tlog-tiles: tile (L, n) holds the hashes of the complete subtrees of
// 256^L entries number 256n to 256n + 255. A tile is handed out once, when its last hash is known;
// hashes of tiles that are not full yet are kept here: at most 255 for each level, 24 KiB for 2^24
// entries. Copyable, so that a group of entries can be tried and dropped. Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_STORE_AUDIT_TREE_H_
#define CONSILIUM_COORDINATOR_STORE_AUDIT_TREE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/transparency/merkle.h"

namespace consilium::coordinator {

inline constexpr int kTileHeight = 8;
inline constexpr uint64_t kTileHashes = uint64_t{1} << kTileHeight;
inline constexpr size_t kTileBytes = kTileHashes * privacy::kHashBytes;
inline constexpr int kTileLevelsMax = 7;  // 2^56 entries

struct AuditTile {
  int level = 0;
  uint64_t index = 0;
  std::string bytes;  // kTileBytes
};

class AuditTree {
 public:
  // A full tile's bytes. Its errors are passed on.
  using TileReader = std::function<absl::StatusOr<std::string>(int level, uint64_t index)>;

  // The tree of the first `size` entries: reads the tiles right above the edge and takes the
  // hashes of the entries after the last full tile (size % 256 of them).
  static absl::StatusOr<AuditTree> Rebuild(uint64_t size, const std::vector<privacy::Hash>& leaves,
                                           const TileReader& read);

  // Adds an entry; tiles that it completes are appended to `full`.
  void Append(const privacy::Hash& leaf, std::vector<AuditTile>& full);
  uint64_t size() const { return size_; }
  privacy::Hash Root() const;
  // Of an entry after the last full tile.
  privacy::Hash Leaf(uint64_t index) const { return edge_[0][index % kTileHashes]; }
  // Of the complete subtree over entries [index << level, (index + 1) << level); reads at most one
  // tile. `this` and `read` must outlive the reader, which keeps the tiles it has read.
  privacy::NodeReader Reader(TileReader read) const;

 private:
  absl::StatusOr<privacy::Hash> Node(int level, uint64_t index, const TileReader& read) const;
  uint64_t size_ = 0;
  std::vector<std::vector<privacy::Hash>> edge_;  // [level]: the hashes of its last, partial tile
};

// The root of up to 256 hashes of one tile whose number is a power of two.
privacy::Hash SubtreeRoot(const privacy::Hash* hashes, size_t count);
// DATA_LOSS: not kTileBytes long.
absl::StatusOr<std::vector<privacy::Hash>> TileHashes(const AuditTile& tile);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_AUDIT_TREE_H_
