#include "privacy/transparency/merkle.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "privacy/transparency/commitment.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

// The eight leaves of the Certificate Transparency reference implementation, and the roots of the
// trees over the first of them.
const char* const kLeaves[] = {"",         "00",       "10",
                               "2021",     "3031",     "40414243",
                               "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
const char* const kRoots[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

// A whole tree in memory.
class Tree {
 public:
  explicit Tree(uint64_t size) {
    for (uint64_t i = 0; i < size; ++i) Append(LeafHash(absl::StrCat("entry ", i)));
  }
  void Append(const Hash& leaf) {
    frontier_.Append(leaf, [this](int level, uint64_t index, const Hash& hash) {
      nodes_[{level, index}] = hash;
    });
    roots_.push_back(frontier_.Root());
  }
  NodeReader reader() const {
    return [this](int level, uint64_t index) -> absl::StatusOr<Hash> {
      const auto node = nodes_.find({level, index});
      if (node == nodes_.end()) return absl::NotFoundError("no complete subtree there");
      return node->second;
    };
  }
  const Hash& leaf(uint64_t index) const { return nodes_.at({0, index}); }
  Hash root(uint64_t size) const { return size == 0 ? EmptyRoot() : roots_[size - 1]; }

 private:
  Frontier frontier_;
  std::map<std::pair<int, uint64_t>, Hash> nodes_;
  std::vector<Hash> roots_;
};

TEST(MerkleTest, GivesTheRootsOfTheReferenceImplementation) {
  Frontier frontier;
  EXPECT_EQ(HashHex(frontier.Root()), kRoots[0]);
  for (size_t i = 0; i < 8; ++i) {
    frontier.Append(LeafHash(*HexDecode(kLeaves[i])));
    EXPECT_EQ(HashHex(frontier.Root()), kRoots[i + 1]);
  }
}

// RFC 6962 section 2.1.3, the tree of seven leaves, with the values of the reference leaves.
TEST(MerkleTest, GivesTheProofsOfTheReferenceImplementation) {
  Tree tree(0);
  for (const char* leaf : kLeaves) tree.Append(LeafHash(*HexDecode(leaf)));
  const auto inclusion = InclusionProof(5, 8, tree.reader());
  ASSERT_TRUE(inclusion.ok()) << inclusion.status();
  ASSERT_EQ(inclusion->size(), 3u);
  EXPECT_EQ(HashHex((*inclusion)[0]),
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b");
  EXPECT_EQ(HashHex((*inclusion)[1]),
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0");
  EXPECT_EQ(HashHex((*inclusion)[2]), kRoots[4]);
  const auto consistency = ConsistencyProof(6, 8, tree.reader());
  ASSERT_TRUE(consistency.ok()) << consistency.status();
  ASSERT_EQ(consistency->size(), 3u);
  EXPECT_EQ(HashHex((*consistency)[0]),
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a");
  EXPECT_EQ(HashHex((*consistency)[1]),
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0");
  EXPECT_EQ(HashHex((*consistency)[2]), kRoots[4]);
}

TEST(MerkleTest, EveryInclusionProofHoldsForItsEntryOnly) {
  const Tree tree(40);
  for (uint64_t size = 1; size <= 40; ++size) {
    EXPECT_EQ(*RootOf(size, tree.reader()), tree.root(size));
    for (uint64_t index = 0; index < size; ++index) {
      const auto proof = InclusionProof(index, size, tree.reader());
      ASSERT_TRUE(proof.ok()) << proof.status();
      EXPECT_TRUE(
          VerifyInclusion(tree.leaf(index), index, size, *proof, tree.root(size)).ok());
      for (uint64_t other = 0; other < size; ++other) {
        EXPECT_EQ(
            VerifyInclusion(tree.leaf(index), other, size, *proof, tree.root(size)).ok(),
            other == index);
      }
    }
  }
}

TEST(MerkleTest, EveryConsistencyProofHoldsForItsTreesOnly) {
  const Tree tree(40);
  for (uint64_t size = 1; size <= 40; ++size) {
    for (uint64_t old_size = 1; old_size <= size; ++old_size) {
      const auto proof = ConsistencyProof(old_size, size, tree.reader());
      ASSERT_TRUE(proof.ok()) << proof.status();
      EXPECT_TRUE(VerifyConsistency(old_size, size, *proof, tree.root(old_size), tree.root(size))
                      .ok());
      EXPECT_FALSE(VerifyConsistency(old_size, size, *proof, LeafHash("other"), tree.root(size))
                       .ok());
      EXPECT_FALSE(
          VerifyConsistency(old_size, size, *proof, tree.root(old_size), LeafHash("other")).ok());
      std::vector<Hash> longer = *proof;
      longer.push_back(EmptyRoot());
      EXPECT_FALSE(
          VerifyConsistency(old_size, size, longer, tree.root(old_size), tree.root(size)).ok());
    }
  }
}

TEST(MerkleTest, AFrontierGoesOnFromItsRightEdge) {
  const Tree tree(40);
  for (uint64_t size = 0; size < 40; ++size) {
    const auto read = Frontier::FromReader(size, tree.reader());
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->Root(), tree.root(size));
    auto again = Frontier::FromRightEdge(size, read->RightEdge());
    ASSERT_TRUE(again.ok()) << again.status();
    again->Append(tree.leaf(size));
    EXPECT_EQ(again->Root(), tree.root(size + 1));
    std::vector<Hash> wrong = read->RightEdge();
    wrong.push_back(EmptyRoot());
    EXPECT_FALSE(Frontier::FromRightEdge(size, wrong).ok());
  }
}

TEST(MerkleTest, ProofsThatCannotBeAreRefused) {
  const Tree tree(4);
  EXPECT_FALSE(InclusionProof(4, 4, tree.reader()).ok());
  EXPECT_FALSE(InclusionProof(0, 0, tree.reader()).ok());
  EXPECT_FALSE(ConsistencyProof(0, 4, tree.reader()).ok());
  EXPECT_FALSE(ConsistencyProof(4, 3, tree.reader()).ok());
  EXPECT_FALSE(VerifyConsistency(0, 4, {}, EmptyRoot(), tree.root(4)).ok());
  EXPECT_FALSE(VerifyInclusion(tree.leaf(0), 0, 0, {}, EmptyRoot()).ok());
  const std::vector<Hash> proof(70);
  constexpr uint64_t kMax = ~uint64_t{0};
  EXPECT_FALSE(VerifyInclusion(tree.leaf(0), kMax - 1, kMax, proof, tree.root(4)).ok());
  EXPECT_FALSE(VerifyConsistency(1, kMax, proof, tree.root(1), tree.root(4)).ok());
  EXPECT_FALSE(VerifyConsistency(kMax - 1, kMax, proof, tree.root(1), tree.root(4)).ok());
  EXPECT_FALSE(HashesFromBytes(std::vector<std::string>(64, std::string(32, 'x'))).ok());
  EXPECT_FALSE(HashesFromBytes(std::vector<std::string>{"short"}).ok());
}

TEST(MerkleTest, AReadersErrorIsPassedOn) {
  const Tree tree(4);
  EXPECT_EQ(InclusionProof(1, 8, tree.reader()).status().code(), absl::StatusCode::kNotFound);
}

// The HMAC is that of RFC 4231 test case 2.
TEST(CommitmentTest, IsAnHmac) {
  EXPECT_EQ(CommitmentHex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(CommitmentTest, OpensWithItsSaltAndValueOnly) {
  const Commitment commitment = Commit("dr.house");
  EXPECT_TRUE(VerifyCommitment(commitment.salt, "dr.house", commitment.hex).ok());
  EXPECT_FALSE(VerifyCommitment(commitment.salt, "dr.cuddy", commitment.hex).ok());
  const Commitment again = Commit("dr.house");
  EXPECT_NE(again.hex, commitment.hex);
  EXPECT_FALSE(VerifyCommitment(again.salt, "dr.house", commitment.hex).ok());
  EXPECT_EQ(VerifyCommitment("short", "dr.house", commitment.hex).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::privacy
