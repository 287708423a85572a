// Random words for noise: AES-256-CTR under a key from the system's generator.
//
// Floating-point generators repeat and leave holes that give a noised value away (Mironov 2012);
// the samplers of discrete_noise.h only compare and scale these words. Thread-compatible: one
// stream to a thread. What is buffered is wiped at the end.
#ifndef CONSILIUM_PRIVACY_DP_RANDOM_STREAM_H_
#define CONSILIUM_PRIVACY_DP_RANDOM_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "privacy/crypto/aes_ctr.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::dp {

class RandomStream {
 public:
  RandomStream();
  // Of kAesCtrKeyBytes secret bytes: the same words for the same key, for noise that has to come out
  // the same when it is made again. Whoever knows the key can take the noise off.
  explicit RandomStream(const privacy::SecretBytes& key);
  RandomStream(RandomStream&&) noexcept = default;
  RandomStream& operator=(RandomStream&&) noexcept = default;

  // 64 independent, fair bits.
  uint64_t Next() {
    if (position_ == kBufferBytes) Refill();
    uint64_t word;
    std::memcpy(&word, buffer_.data() + position_, sizeof(word));
    position_ += sizeof(word);
    return word;
  }
  // Uniform over [0, bound), exactly (Lemire 2019, arXiv:1805.10941). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound) {
    using Product = unsigned __int128;
    Product product = static_cast<Product>(Next()) * bound;
    if (static_cast<uint64_t>(product) < bound) {
      const uint64_t biased = -bound % bound;
      while (static_cast<uint64_t>(product) < biased) {
        product = static_cast<Product>(Next()) * bound;
      }
    }
    return static_cast<uint64_t>(product >> 64);
  }

 private:
  static constexpr size_t kBufferBytes = 8192;

  void Refill();

  privacy::AesCtr generator_;
  privacy::SecretBytes buffer_;
  size_t position_ = kBufferBytes;
};

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_RANDOM_STREAM_H_
