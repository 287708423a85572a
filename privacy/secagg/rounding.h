// Scaled values to integers modulo 2^16 or 2^32. Internal to quantise.
#ifndef CONSILIUM_PRIVACY_SECAGG_ROUNDING_H_
#define CONSILIUM_PRIVACY_SECAGG_ROUNDING_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/aes_ctr.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::secagg {

// words[i] = value * scale, rounded to the nearest integer, halves to even.
// REQUIRES: |value * scale| < 2^50.
void RoundToEven(absl::Span<const float> values, double scale, absl::Span<uint32_t> words);
void RoundToEven(absl::Span<const float> values, double scale, absl::Span<uint16_t> words);

// Rounds v up with probability v - floor(v), so that the result is v on average. Word i takes four
// bytes of the keystream of `seed` at 4 * i: the same word is always rounded the same way.
// Borrows the seed; one of 0 bytes is for a rounder that is never used. Thread-compatible.
class StochasticRounder {
 public:
  explicit StochasticRounder(absl::string_view seed) : seed_(seed) {}
  // REQUIRES: a seed of 32 bytes, an offset that is a multiple of 4, |value * scale| < 2^50.
  void Round(uint64_t offset, absl::Span<const float> values, double scale,
             absl::Span<uint32_t> words);
  void Round(uint64_t offset, absl::Span<const float> values, double scale,
             absl::Span<uint16_t> words);

 private:
  template <typename Word>
  void RoundWords(uint64_t offset, absl::Span<const float> values, double scale,
                  absl::Span<Word> words);

  absl::string_view seed_;
  privacy::AesCtr stream_;
  privacy::SecretBytes random_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_ROUNDING_H_
