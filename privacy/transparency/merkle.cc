#include "privacy/transparency/merkle.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kLeafPrefix("\x00", 1);
constexpr absl::string_view kNodePrefix("\x01", 1);

// The largest power of two below n; n > 1.
uint64_t SplitPoint(uint64_t n) { return std::bit_floor(n - 1); }

// Folds siblings into the hash at position `index`, upwards.
Hash FoldInner(Hash hash, absl::Span<const Hash> proof, uint64_t index) {
  for (size_t i = 0; i < proof.size(); ++i) {
    hash = (index >> i & 1) == 0 ? NodeHash(hash, proof[i]) : NodeHash(proof[i], hash);
  }
  return hash;
}

// Of those siblings only the left ones: what the smaller tree is made of.
Hash FoldLeftOnly(Hash hash, absl::Span<const Hash> proof, uint64_t index) {
  for (size_t i = 0; i < proof.size(); ++i) {
    if ((index >> i & 1) == 1) hash = NodeHash(proof[i], hash);
  }
  return hash;
}

Hash FoldBorder(Hash hash, absl::Span<const Hash> proof) {
  for (const Hash& left : proof) hash = NodeHash(left, hash);
  return hash;
}

size_t BorderLength(uint64_t index, size_t inner) {
  return inner >= 64 ? 0 : static_cast<size_t>(std::popcount(index >> inner));
}

absl::Status WrongLength(size_t have, size_t want) {
  return absl::InvalidArgumentError(
      absl::StrCat("proof: ", have, " hashes where ", want, " belong"));
}

// MTH(D[begin:end]) of RFC 6962, begin < end.
absl::StatusOr<Hash> RangeHash(uint64_t begin, uint64_t end, const NodeReader& read) {
  const uint64_t count = end - begin;
  if (std::has_single_bit(count)) {
    const int level = std::countr_zero(count);
    return read(level, begin >> level);
  }
  const uint64_t middle = begin + SplitPoint(count);
  CSL_ASSIGN_OR_RETURN(const Hash left, RangeHash(begin, middle, read));
  CSL_ASSIGN_OR_RETURN(const Hash right, RangeHash(middle, end, read));
  return NodeHash(left, right);
}

}  // namespace

Hash EmptyRoot() {
  Hash hash;
  Sha256Join({}, hash.data());
  return hash;
}

Hash LeafHash(absl::string_view entry) {
  Hash hash;
  Sha256Join({kLeafPrefix, entry}, hash.data());
  return hash;
}

Hash NodeHash(const Hash& left, const Hash& right) {
  Hash hash;
  Sha256Join({kNodePrefix, HashBytes(left), HashBytes(right)}, hash.data());
  return hash;
}

absl::string_view HashBytes(const Hash& hash) {
  return absl::string_view(reinterpret_cast<const char*>(hash.data()), hash.size());
}

std::string HashHex(const Hash& hash) { return HexEncode(HashBytes(hash)); }

absl::StatusOr<Hash> HashFromBytes(absl::string_view bytes) {
  if (bytes.size() != kHashBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("hash: ", bytes.size(), " bytes, not ", kHashBytes));
  }
  Hash hash;
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

absl::Status VerifyInclusion(const Hash& leaf, uint64_t index, uint64_t size,
                             absl::Span<const Hash> proof, const Hash& root) {
  if (index >= size) {
    return absl::InvalidArgumentError(
        absl::StrCat("proof: index ", index, " in a tree of ", size, " entries"));
  }
  // Up to where the path leaves the right edge, siblings are on both sides; above, left only.
  const auto inner = static_cast<size_t>(std::bit_width(index ^ (size - 1)));
  const size_t want = inner + BorderLength(index, inner);
  if (proof.size() != want) return WrongLength(proof.size(), want);
  if (FoldBorder(FoldInner(leaf, proof.first(inner), index), proof.subspan(inner)) != root) {
    return absl::InvalidArgumentError(
        absl::StrCat("proof: entry ", index, " is not in the tree of ", size, " entries"));
  }
  return absl::OkStatus();
}

// RFC 9162 section 2.1.4.2, as lengths: the proof is, from below, the old tree's last complete subtree
// (left out where that is the whole old tree), siblings on both sides, then left siblings only.
absl::StatusOr<size_t> ConsistencyProofLength(uint64_t old_size, uint64_t new_size) {
  if (old_size == 0) return absl::InvalidArgumentError("proof: there is none from an empty tree");
  if (old_size > new_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("proof: from ", old_size, " entries to ", new_size));
  }
  if (old_size == new_size) return 0;
  const auto width = static_cast<size_t>(std::bit_width((old_size - 1) ^ (new_size - 1)));
  return (std::has_single_bit(old_size) ? 0 : 1) + width -
         static_cast<size_t>(std::countr_zero(old_size)) + BorderLength(old_size - 1, width);
}

absl::Status VerifyConsistency(uint64_t old_size, uint64_t new_size, absl::Span<const Hash> proof,
                               const Hash& old_root, const Hash& new_root) {
  CSL_ASSIGN_OR_RETURN(const size_t want, ConsistencyProofLength(old_size, new_size));
  if (proof.size() != want) return WrongLength(proof.size(), want);
  const absl::Status inconsistent = absl::InvalidArgumentError(absl::StrCat(
      "proof: the tree of ", new_size, " entries does not continue that of ", old_size));
  if (old_size == new_size) return old_root == new_root ? absl::OkStatus() : inconsistent;
  const auto shift = static_cast<size_t>(std::countr_zero(old_size));
  const size_t inner =
      static_cast<size_t>(std::bit_width((old_size - 1) ^ (new_size - 1))) - shift;
  // The old tree, if complete, is a node of the new one: its root starts the path.
  Hash seed = old_root;
  if (!std::has_single_bit(old_size)) {
    seed = proof[0];
    proof.remove_prefix(1);
  }
  const uint64_t index = (old_size - 1) >> shift;
  const absl::Span<const Hash> left = proof.subspan(inner);
  if (FoldBorder(FoldLeftOnly(seed, proof.first(inner), index), left) != old_root ||
      FoldBorder(FoldInner(seed, proof.first(inner), index), left) != new_root) {
    return inconsistent;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Hash>> InclusionProof(uint64_t index, uint64_t size,
                                                 const NodeReader& read) {
  if (index >= size) {
    return absl::InvalidArgumentError(
        absl::StrCat("no entry ", index, " in a tree of ", size, " entries"));
  }
  std::vector<Hash> proof;
  for (uint64_t begin = 0, end = size; end - begin > 1;) {
    const uint64_t middle = begin + SplitPoint(end - begin);
    const bool left = index < middle;
    CSL_ASSIGN_OR_RETURN(const Hash sibling,
                         left ? RangeHash(middle, end, read) : RangeHash(begin, middle, read));
    proof.push_back(sibling);
    (left ? end : begin) = middle;
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

absl::StatusOr<std::vector<Hash>> ConsistencyProof(uint64_t old_size, uint64_t new_size,
                                                   const NodeReader& read) {
  if (old_size == 0 || old_size > new_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("no proof from ", old_size, " entries to ", new_size));
  }
  std::vector<Hash> proof;
  uint64_t begin = 0, end = new_size;
  // RFC 6962 section 2.1.2, SUBPROOF from the root down; the order of a proof is from below.
  while (end > old_size) {
    const uint64_t middle = begin + SplitPoint(end - begin);
    const bool left = old_size <= middle;
    CSL_ASSIGN_OR_RETURN(const Hash sibling,
                         left ? RangeHash(middle, end, read) : RangeHash(begin, middle, read));
    proof.push_back(sibling);
    (left ? end : begin) = middle;
  }
  if (begin != 0) {
    CSL_ASSIGN_OR_RETURN(const Hash seed, RangeHash(begin, end, read));
    proof.push_back(seed);
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

absl::StatusOr<Hash> RootOf(uint64_t size, const NodeReader& read) {
  if (size == 0) return EmptyRoot();
  return RangeHash(0, size, read);
}

absl::StatusOr<Frontier> Frontier::FromRightEdge(uint64_t size, absl::Span<const Hash> edge) {
  if (edge.size() != static_cast<size_t>(std::popcount(size))) {
    return absl::InvalidArgumentError(
        absl::StrCat("right edge: ", edge.size(), " hashes for a tree of ", size, " entries"));
  }
  Frontier frontier;
  frontier.size_ = size;
  frontier.edge_.assign(edge.begin(), edge.end());
  return frontier;
}

absl::StatusOr<Frontier> Frontier::FromReader(uint64_t size, const NodeReader& read) {
  Frontier frontier;
  frontier.size_ = size;
  for (uint64_t begin = 0; begin < size;) {
    const uint64_t count = std::bit_floor(size - begin);
    CSL_ASSIGN_OR_RETURN(const Hash hash, RangeHash(begin, begin + count, read));
    frontier.edge_.push_back(hash);
    begin += count;
  }
  return frontier;
}

void Frontier::Append(const Hash& leaf) {
  Append(leaf, [](int, uint64_t, const Hash&) {});
}

void Frontier::Append(
    const Hash& leaf,
    absl::FunctionRef<void(int level, uint64_t index, const Hash& hash)> completed) {
  Hash hash = leaf;
  int level = 0;
  completed(level, size_, hash);
  for (uint64_t position = size_; (position & 1) == 1; position >>= 1) {
    hash = NodeHash(edge_.back(), hash);
    edge_.pop_back();
    completed(++level, position >> 1, hash);
  }
  edge_.push_back(hash);
  ++size_;
}

Hash Frontier::Root() const {
  if (edge_.empty()) return EmptyRoot();
  Hash root = edge_.back();
  for (size_t i = edge_.size() - 1; i-- > 0;) root = NodeHash(edge_[i], root);
  return root;
}

}  // namespace consilium::privacy
