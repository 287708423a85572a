// Masks: sums of AES-256-CTR keystreams (IV of zeros), added to words modulo 2^16 or 2^32.
//
//   y_i = x_i + PRG(Kself_i) + sum_{j>i} PRG(Kpair_ij) - sum_{j<i} PRG(Kpair_ij)
//
// A keystream is seekable, so a vector can be masked in any order, in parts, by several threads.
// Words are little-endian on the wire and in memory.
#ifndef CONSILIUM_PRIVACY_SECAGG_MASK_H_
#define CONSILIUM_PRIVACY_SECAGG_MASK_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "privacy/crypto/secret_bytes.h"
#include "proto/base/thread_pool.h"

namespace consilium::secagg {

enum class MaskSign { kAdd, kSubtract };

// Keystreams with their signs. Immutable once filled: the const methods are thread-safe.
// Time: one AES-CTR pass and one addition for each key; works in blocks of 64 KiB, and that is all
// the memory it takes beside the words.
class MaskSum {
 public:
  static constexpr size_t kBlockBytes = 64 * 1024;

  void Add(privacy::SecretBytes key, MaskSign sign);  // REQUIRES: a key of 32 bytes
  size_t keys() const { return keys_.size(); }

  // Adds the masks of the words from `word_offset` on. 2^36 words at most, whatever the offset.
  void Apply(uint64_t word_offset, absl::Span<uint32_t> words) const;
  void Apply(uint64_t word_offset, absl::Span<uint16_t> words) const;

 private:
  struct SignedKey {
    privacy::SecretBytes key;
    MaskSign sign;
  };
  template <typename Word>
  void ApplyWords(uint64_t word_offset, absl::Span<Word> words) const;

  std::vector<SignedKey> keys_;
};

// What a site adds to its quantised update: its self mask and a mask for each peer. Made by
// SiteSession::MaskerFor. Thread-safe.
class Masker {
 public:
  explicit Masker(MaskSum masks) : masks_(std::move(masks)) {}
  // Masks words [word_offset, word_offset + words.size()) in place. Each word once: a second call
  // masks twice.
  void Apply(uint64_t word_offset, absl::Span<uint32_t> words) const {
    masks_.Apply(word_offset, words);
  }
  void Apply(uint64_t word_offset, absl::Span<uint16_t> words) const {
    masks_.Apply(word_offset, words);
  }

 private:
  MaskSum masks_;
};

// Calls `work(begin, count)` for consecutive ranges that cover [0, words), each but the last a
// multiple of `align` words, on `parts` threads: the caller's, and the rest of `pool`. Returns when
// all are done. REQUIRES: parts >= 1, align >= 1; `work` may run concurrently with itself.
void RunByRange(ThreadPool& pool, int parts, uint64_t words, uint64_t align,
                absl::FunctionRef<void(uint64_t begin, uint64_t count)> work);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_MASK_H_
