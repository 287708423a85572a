#include "privacy/transparency/tile.h"

#include <string>

#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

TEST(TileTest, PathsAreThoseOfTheSpecification) {
  EXPECT_EQ(TilePath(0, 1234067, 0), "tile/0/x001/x234/067");
  EXPECT_EQ(TilePath(1, 0, 256), "tile/1/000");
  EXPECT_EQ(TilePath(2, 273, 112), "tile/2/273.p/112");
  EXPECT_EQ(EntriesPath(1000, 0), "tile/entries/x001/000");
  EXPECT_EQ(EntriesPath(5, 3), "tile/entries/005.p/3");
}

TEST(TileTest, PathsParseToWhatWroteThem) {
  for (const uint64_t n : {uint64_t{0}, uint64_t{999}, uint64_t{1000}, uint64_t{123456789012}}) {
    for (const int width : {1, 17, 255, 256}) {
      const auto hashes = ParseTilePath(TilePath(3, n, width));
      ASSERT_TRUE(hashes.ok()) << hashes.status();
      EXPECT_EQ(*hashes, (TileName{TileName::Kind::kHashes, 3, n, width}));
      const auto entries = ParseTilePath(EntriesPath(n, width));
      ASSERT_TRUE(entries.ok()) << entries.status();
      EXPECT_EQ(*entries, (TileName{TileName::Kind::kEntries, 0, n, width}));
    }
  }
}

TEST(TileTest, OtherPathsAreRefused) {
  for (const char* path :
       {"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/1", "tile/0/0001", "tile/0/x000/001",
        "tile/0/001/x002", "tile/0/001/002", "tile/8/000", "tile/-1/000", "tile/+1/000",
        "tile/00/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/07", "tile/0/000.p/",
        "tile/0/000.p/1/2", "tile/0/../etc", "/tile/0/000", "tile/entries/", "tile/entries/00a",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999"}) {
    EXPECT_FALSE(ParseTilePath(path).ok()) << path;
  }
}

TEST(TileTest, WidthFollowsTheSize) {
  EXPECT_EQ(TileWidthAt(0, 0, 0), 0);
  EXPECT_EQ(TileWidthAt(0, 0, 1), 1);
  EXPECT_EQ(TileWidthAt(0, 0, 256), 256);
  EXPECT_EQ(TileWidthAt(0, 1, 256), 0);
  EXPECT_EQ(TileWidthAt(1, 0, 255), 0);
  EXPECT_EQ(TileWidthAt(1, 0, 511), 1);
  EXPECT_EQ(TileWidthAt(2, 0, 70000), 1);
}

TEST(BundleTest, GivesBackItsEntries) {
  std::string bundle;
  const std::string longest(kEntryBytesMax, 'x');
  for (const std::string& entry : {std::string("a"), std::string(), longest}) {
    ASSERT_TRUE(AppendToBundle(entry, bundle).ok());
  }
  EXPECT_EQ(bundle.substr(0, 3), std::string("\0\1a", 3));
  const auto entries = ParseBundle(bundle);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0], "a");
  EXPECT_EQ((*entries)[2], longest);
}

TEST(BundleTest, TooMuchOrTooLittleIsRefused) {
  std::string bundle;
  EXPECT_FALSE(AppendToBundle(std::string(kEntryBytesMax + 1, 'x'), bundle).ok());
  EXPECT_TRUE(bundle.empty());
  ASSERT_TRUE(AppendToBundle("abc", bundle).ok());
  for (size_t size = 1; size < bundle.size(); ++size) {
    EXPECT_FALSE(ParseBundle(bundle.substr(0, size)).ok()) << size;
  }
  EXPECT_TRUE(ParseBundle(std::string(512, '\0')).ok());
  EXPECT_FALSE(ParseBundle(std::string(514, '\0')).ok());
}

}  // namespace
}  // namespace consilium::privacy
