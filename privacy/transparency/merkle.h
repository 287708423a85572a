// The Merkle tree of a transparency log: RFC 6962 section 2.1 (the same as RFC 9162 section 2.1)
// with SHA-256. A leaf is SHA-256(0x00 || entry), a node SHA-256(0x01 || left || right); a tree is
// split at the largest power of two below its size and no leaf is ever doubled.
//
// Thread-safety: functions are thread-safe, Frontier is thread-compatible.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_MERKLE_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_MERKLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium::privacy {

inline constexpr size_t kHashBytes = 32;
// No proof of a tree with at most 2^63 leaves is longer (C2SP tlog-witness has the same limit).
inline constexpr size_t kProofHashesMax = 63;

using Hash = std::array<uint8_t, kHashBytes>;

Hash EmptyRoot();
Hash LeafHash(absl::string_view entry);
Hash NodeHash(const Hash& left, const Hash& right);

// The hash's 32 bytes; the view is valid as long as `hash`.
absl::string_view HashBytes(const Hash& hash);
std::string HashHex(const Hash& hash);
// INVALID_ARGUMENT: not 32 bytes.
absl::StatusOr<Hash> HashFromBytes(absl::string_view bytes);
// Of messages with repeated bytes. INVALID_ARGUMENT: more than kProofHashesMax, or not 32 bytes.
template <typename Strings>
absl::StatusOr<std::vector<Hash>> HashesFromBytes(const Strings& strings);

// That the leaf is entry `index` of the tree of `size` entries with `root` (RFC 9162, 2.1.3.2).
// INVALID_ARGUMENT: it is not, or the proof has another length than index and size ask for.
absl::Status VerifyInclusion(const Hash& leaf, uint64_t index, uint64_t size,
                             absl::Span<const Hash> proof, const Hash& root);

// That the tree of `new_size` begins with the one of `old_size` (RFC 9162, 2.1.4.2).
// INVALID_ARGUMENT: it does not; the proof has another length than the sizes ask for; the old size
// is 0, from which everything follows, so that there is nothing to verify.
absl::Status VerifyConsistency(uint64_t old_size, uint64_t new_size, absl::Span<const Hash> proof,
                               const Hash& old_root, const Hash& new_root);

// How many hashes such a proof has. INVALID_ARGUMENT: old size 0 or above the new one.
absl::StatusOr<size_t> ConsistencyProofLength(uint64_t old_size, uint64_t new_size);

// The hash of the complete subtree over entries [index << level, (index + 1) << level). Asked for
// complete subtrees only; level 0 are the leaf hashes. Its errors are passed on.
using NodeReader = std::function<absl::StatusOr<Hash>(int level, uint64_t index)>;

// Each reads O(log size) nodes. INVALID_ARGUMENT: index >= size; old size 0 or above the new one.
absl::StatusOr<std::vector<Hash>> InclusionProof(uint64_t index, uint64_t size,
                                                 const NodeReader& read);
absl::StatusOr<std::vector<Hash>> ConsistencyProof(uint64_t old_size, uint64_t new_size,
                                                   const NodeReader& read);
absl::StatusOr<Hash> RootOf(uint64_t size, const NodeReader& read);

// The right edge of a growing tree: all that appending and the root need, O(log size) memory.
// Copyable, so that a batch can be tried and dropped.
class Frontier {
 public:
  Frontier() = default;
  // From RightEdge() of a tree of `size`. INVALID_ARGUMENT: not one hash for each set bit of it.
  static absl::StatusOr<Frontier> FromRightEdge(uint64_t size, absl::Span<const Hash> edge);
  static absl::StatusOr<Frontier> FromReader(uint64_t size, const NodeReader& read);

  void Append(const Hash& leaf);
  // `completed` is told of every subtree that the leaf completes, the leaf (level 0) first.
  void Append(const Hash& leaf,
              absl::FunctionRef<void(int level, uint64_t index, const Hash& hash)> completed);
  uint64_t size() const { return size_; }
  Hash Root() const;
  // The complete subtrees that the tree is made of, largest first.
  const std::vector<Hash>& RightEdge() const { return edge_; }

 private:
  uint64_t size_ = 0;
  std::vector<Hash> edge_;
};

template <typename Strings>
absl::StatusOr<std::vector<Hash>> HashesFromBytes(const Strings& strings) {
  if (static_cast<size_t>(strings.size()) > kProofHashesMax) {
    return absl::InvalidArgumentError("proof: more than 63 hashes");
  }
  std::vector<Hash> hashes;
  for (const auto& bytes : strings) {
    absl::StatusOr<Hash> hash = HashFromBytes(bytes);
    if (!hash.ok()) return hash.status();
    hashes.push_back(*hash);
  }
  return hashes;
}

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_MERKLE_H_
