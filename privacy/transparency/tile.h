// Tiles and entry bundles: how a log's tree and entries lie in files (C2SP tlog-tiles), height 8.
//
// Tile (level L, number N) holds the hashes of the subtrees over 256^L entries, numbers N * 256
// up to N * 256 + width - 1: 32 bytes each, 256 when full. Bundle N holds the entries of tile (0, N).
//
// Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_TILE_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_TILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/transparency/merkle.h"

namespace consilium::privacy {

inline constexpr int kTileHeight = 8;
inline constexpr int kTileWidth = 256;
inline constexpr int kTileLevelMax = 7;              // of a tree with at most 2^63 entries
inline constexpr size_t kEntryBytesMax = 65535;      // the length prefix of a bundle has 16 bits

// "tile/L/N", N in groups of three digits, all but the last with an "x": 1234067 is x001/x234/067.
// `width` 0 or 256: the full tile; else ".p/W" follows.
std::string TilePath(int level, uint64_t n, int width);
std::string EntriesPath(uint64_t n, int width);

struct TileName {
  enum class Kind { kHashes, kEntries };
  Kind kind = Kind::kHashes;
  int level = 0;  // 0 for entries
  uint64_t n = 0;
  int width = kTileWidth;  // 1 to 256
  friend bool operator==(const TileName&, const TileName&) = default;
};
// Only what TilePath and EntriesPath write. INVALID_ARGUMENT: everything else.
absl::StatusOr<TileName> ParseTilePath(absl::string_view path);

// How many hashes tile (level, n) of a tree of `size` entries holds; 0: there is no such tile.
int TileWidthAt(int level, uint64_t n, uint64_t size);
// The tile's bytes from the tree's nodes.
absl::StatusOr<std::string> TileBytes(int level, uint64_t n, int width, const NodeReader& read);

// Appends the entry with its length, big-endian. INVALID_ARGUMENT: longer than kEntryBytesMax.
absl::Status AppendToBundle(absl::string_view entry, std::string& bundle);
// The entries of a whole bundle, as views into it. INVALID_ARGUMENT: it ends within an entry, or
// holds more than 256.
absl::StatusOr<std::vector<absl::string_view>> ParseBundle(absl::string_view bundle);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_TILE_H_
