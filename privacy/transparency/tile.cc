#include "privacy/transparency/tile.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kPrefix = "tile/";
constexpr absl::string_view kEntries = "entries/";
constexpr absl::string_view kPartial = ".p/";
constexpr size_t kPathBytesMax = 64;

std::string NumberPath(uint64_t n, int width) {
  std::string path = absl::StrCat(absl::Dec(n % 1000, absl::kZeroPad3));
  while ((n /= 1000) > 0) path = absl::StrCat("x", absl::Dec(n % 1000, absl::kZeroPad3), "/", path);
  if (width != 0 && width != kTileWidth) absl::StrAppend(&path, kPartial, width);
  return path;
}

absl::Status NotATile() { return absl::InvalidArgumentError("not the path of a tile"); }

}  // namespace

std::string TilePath(int level, uint64_t n, int width) {
  return absl::StrCat(kPrefix, level, "/", NumberPath(n, width));
}

std::string EntriesPath(uint64_t n, int width) {
  return absl::StrCat(kPrefix, kEntries, NumberPath(n, width));
}

absl::StatusOr<TileName> ParseTilePath(absl::string_view path) {
  const absl::string_view whole = path;
  TileName name;
  if (path.size() > kPathBytesMax || !absl::ConsumePrefix(&path, kPrefix)) return NotATile();
  if (absl::ConsumePrefix(&path, kEntries)) {
    name.kind = TileName::Kind::kEntries;
  } else {
    const size_t slash = path.find('/');
    if (slash == absl::string_view::npos || !absl::SimpleAtoi(path.substr(0, slash), &name.level) ||
        name.level < 0 || name.level > kTileLevelMax) {
      return NotATile();
    }
    path.remove_prefix(slash + 1);
  }
  if (const size_t partial = path.find(kPartial); partial != absl::string_view::npos) {
    if (!absl::SimpleAtoi(path.substr(partial + kPartial.size()), &name.width) || name.width < 1 ||
        name.width >= kTileWidth) {
      return NotATile();
    }
    path = path.substr(0, partial);
  }
  std::string digits;
  for (absl::string_view group : absl::StrSplit(path, '/')) {
    absl::ConsumePrefix(&group, "x");
    absl::StrAppend(&digits, group);
  }
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(digits, &name.n)) {
    return NotATile();
  }
  // One path for one tile: what we would not write ourselves is not one.
  const std::string again = name.kind == TileName::Kind::kEntries
                                ? EntriesPath(name.n, name.width)
                                : TilePath(name.level, name.n, name.width);
  if (again != whole) return NotATile();
  return name;
}

int TileWidthAt(int level, uint64_t n, uint64_t size) {
  CSL_CHECK(level >= 0 && level <= kTileLevelMax);
  const uint64_t nodes = size >> (kTileHeight * level);
  const uint64_t full = nodes / kTileWidth;
  if (n < full) return kTileWidth;
  return n == full ? static_cast<int>(nodes % kTileWidth) : 0;
}

absl::StatusOr<std::string> TileBytes(int level, uint64_t n, int width, const NodeReader& read) {
  if (level < 0 || level > kTileLevelMax || width < 1 || width > kTileWidth) return NotATile();
  std::string bytes;
  bytes.reserve(static_cast<size_t>(width) * kHashBytes);
  for (int i = 0; i < width; ++i) {
    CSL_ASSIGN_OR_RETURN(const Hash hash,
                         read(kTileHeight * level, n * kTileWidth + static_cast<uint64_t>(i)));
    absl::StrAppend(&bytes, HashBytes(hash));
  }
  return bytes;
}

absl::Status AppendToBundle(absl::string_view entry, std::string& bundle) {
  if (entry.size() > kEntryBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("log entry: ", entry.size(), " bytes; at most ", kEntryBytesMax));
  }
  bundle.push_back(static_cast<char>(entry.size() >> 8));
  bundle.push_back(static_cast<char>(entry.size() & 0xff));
  absl::StrAppend(&bundle, entry);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<absl::string_view>> ParseBundle(absl::string_view bundle) {
  std::vector<absl::string_view> entries;
  while (!bundle.empty()) {
    if (entries.size() == kTileWidth) {
      return absl::InvalidArgumentError("bundle: more than 256 entries");
    }
    const size_t length = bundle.size() < 2 ? 0
                                            : size_t{static_cast<unsigned char>(bundle[0])} << 8 |
                                                  static_cast<unsigned char>(bundle[1]);
    if (bundle.size() < 2 + length) {
      return absl::InvalidArgumentError(
          absl::StrCat("bundle: ends within entry ", entries.size()));
    }
    entries.push_back(bundle.substr(2, length));
    bundle.remove_prefix(2 + length);
  }
  return entries;
}

}  // namespace consilium::privacy
