// All vectors of the shared file: RFC 6962 and RFC 9162 trees and proofs, C2SP notes and tiles.
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"
#include "privacy/transparency/tile.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using Json = nlohmann::json;

constexpr const char* kVectors = CONSILIUM_SHARED_DIR "/data/merkle_vectors.json";
constexpr int kVectorCount = 430;

std::string Unhex(const Json& hex) { return *HexDecode(hex.get<std::string>()); }

// A hash that is not 32 bytes is one of the faults that vectors have.
absl::StatusOr<std::vector<Hash>> Hashes(const Json& list) {
  std::vector<std::string> strings;
  for (const Json& hex : list) strings.push_back(Unhex(hex));
  return HashesFromBytes(strings);
}

Hash RootOfLeaves(const std::vector<std::string>& leaves) {
  Frontier frontier;
  for (const std::string& leaf : leaves) frontier.Append(LeafHash(leaf));
  return frontier.Root();
}

std::vector<std::string> Leaves(const Json& vector) {
  std::vector<std::string> leaves;
  if (vector.contains("leaves")) {
    for (const Json& leaf : vector["leaves"]) leaves.push_back(Unhex(leaf));
    return leaves;
  }
  for (int i = 0; i < vector["count"]; ++i) {
    leaves.push_back(absl::StrReplaceAll(vector["leaf_pattern"].get<std::string>(),
                                         {{"%d", absl::StrCat(i)}}));
  }
  return leaves;
}

void CheckHash(const Json& vector) {
  const std::string kind = vector["kind"];
  if (kind == "empty") {
    EXPECT_EQ(HashHex(EmptyRoot()), vector["want"]);
  } else if (kind == "leaf") {
    EXPECT_EQ(HashHex(LeafHash(Unhex(vector["data"]))), vector["want"]);
  } else {
    // Its children are not 32 bytes, which NodeHash cannot be given; the formula is the same.
    const std::string joined = absl::StrCat("\x01", Unhex(vector["left"]), Unhex(vector["right"]));
    EXPECT_EQ(Sha256Hex(joined), vector["want"]);
    const Hash left = LeafHash("l"), right = LeafHash("r");
    EXPECT_EQ(HashHex(NodeHash(left, right)),
              Sha256Hex(absl::StrCat("\x01", HashBytes(left), HashBytes(right))));
  }
}

void CheckTree(const Json& vector) {
  const std::vector<std::string> leaves = Leaves(vector);
  EXPECT_EQ(HashHex(RootOfLeaves(leaves)), vector["root"]);
}

void CheckInclusion(const Json& vector) {
  const auto leaf = HashFromBytes(Unhex(vector["leaf_hash"]));
  const auto root = HashFromBytes(Unhex(vector["root"]));
  const auto proof = Hashes(vector["proof"]);
  const bool valid = leaf.ok() && root.ok() && proof.ok() &&
                     VerifyInclusion(*leaf, vector["index"].get<uint64_t>(),
                                     vector["size"].get<uint64_t>(), *proof, *root)
                         .ok();
  EXPECT_EQ(valid, vector["valid"].get<bool>());
}

// Some of the published cases have the words "don't care 1" for a root, which our type, always 32
// bytes, cannot hold. Their hash stands for them: equal where they are, different where they are not.
absl::StatusOr<Hash> RootOrPlaceholder(const Json& hex) {
  const std::string bytes = Unhex(hex);
  return bytes.starts_with("don't care") ? LeafHash(bytes) : HashFromBytes(bytes);
}

void CheckConsistency(const Json& vector) {
  const auto root1 = RootOrPlaceholder(vector["root1"]);
  const auto root2 = RootOrPlaceholder(vector["root2"]);
  const auto proof = Hashes(vector["proof"]);
  const bool valid = root1.ok() && root2.ok() && proof.ok() &&
                     VerifyConsistency(vector["size1"].get<uint64_t>(),
                                       vector["size2"].get<uint64_t>(), *proof, *root1, *root2)
                         .ok();
  EXPECT_EQ(valid, vector["valid"].get<bool>());
}

bool NoteHolds(const Json& vector) {
  const auto key = VerifierKey::Parse(vector["vkey"].get<std::string>());
  const auto note = SignedNote::Parse(vector["text"].get<std::string>());
  if (!key.ok() || !note.ok()) return false;
  EXPECT_EQ(note->ToString(), vector["text"]);
  EXPECT_EQ(key->ToString(), vector["vkey"]);
  if (key->algorithm == kCosignatureEd25519) return FindCosignature(*note, *key).ok();
  return VerifyNote(*note, *key).ok();
}

void CheckNote(const Json& vector) {
  EXPECT_EQ(NoteHolds(vector), vector["valid"].get<bool>());
  if (!vector.contains("leaves")) return;
  const std::vector<std::string> leaves = Leaves(vector);
  const auto checkpoint =
      OpenCheckpoint(vector["text"].get<std::string>(),
                     *VerifierKey::Parse(vector["vkey"].get<std::string>()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->size, leaves.size());
  EXPECT_EQ(checkpoint->root, RootOfLeaves(leaves));
}

void CheckTile(const Json& vector) {
  const auto n = vector["index"].get<uint64_t>();
  if (vector.contains("path_suffix")) {
    EXPECT_EQ(TilePath(0, n, 0), absl::StrCat("tile/0/", vector["path_suffix"].get<std::string>()));
    return;
  }
  const auto size = vector["tree_size"].get<uint64_t>();
  const int level = vector["level"], width = vector["width"];
  EXPECT_EQ(TileWidthAt(level, n, size), width);
  EXPECT_EQ(TilePath(level, n, width), vector["path"]);
  static std::map<std::pair<int, uint64_t>, Hash> nodes;  // of the one tree that all of them share
  static Frontier frontier;
  while (frontier.size() < size) {
    frontier.Append(LeafHash(absl::StrCat("entry ", frontier.size())),
                    [](int node_level, uint64_t index, const Hash& hash) {
                      nodes[{node_level, index}] = hash;
                    });
  }
  const auto bytes = TileBytes(level, n, width, [](int node_level, uint64_t index) {
    return absl::StatusOr<Hash>(nodes.at({node_level, index}));
  });
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(Sha256Hex(*bytes), vector["sha256"]);
}

TEST(MerkleVectorsTest, AllOfThemHold) {
  if (!PathExists(kVectors)) GTEST_SKIP() << "no shared data at " << kVectors;
  const auto text = ReadFile(kVectors, uint64_t{64} << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const Json vectors = Json::parse(*text);
  const std::pair<const char*, void (*)(const Json&)> checks[] = {
      {"hash", CheckHash},   {"tree", CheckTree}, {"inclusion", CheckInclusion},
      {"consistency", CheckConsistency}, {"note", CheckNote}, {"tile", CheckTile}};
  int ran = 0;
  for (const auto& [kind, check] : checks) {
    for (const Json& vector : vectors.at(kind)) {
      SCOPED_TRACE(vector["id"].get<std::string>());
      check(vector);
      ++ran;
    }
  }
  std::printf("%d vectors\n", ran);
  EXPECT_EQ(ran, kVectorCount);
}

}  // namespace
}  // namespace consilium::privacy
