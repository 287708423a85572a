// The randomised Hadamard rotation of a vector's blocks: x -> H (s * x) / sqrt(B), with signs s
// that everybody knows. Spreads a block's energy over its values (Suresh et al. 2017,
// arXiv:1611.00429).
#ifndef CONSILIUM_PRIVACY_SECAGG_HADAMARD_H_
#define CONSILIUM_PRIVACY_SECAGG_HADAMARD_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/aes_ctr.h"

namespace consilium::secagg {

// Multiplies by the Walsh-Hadamard matrix / sqrt(size), in place: its own inverse.
// REQUIRES: a size that is a power of two. Time: size * log2(size) additions.
void Hadamard(absl::Span<float> block);

// Signs of the values of a vector: value i is negated where bit i % 8 (from the lowest) of byte i /
// 8 of the AES-256-CTR keystream of `seed` is 1. Borrows the seed. Thread-compatible.
class RotationSigns {
 public:
  explicit RotationSigns(absl::string_view seed) : seed_(seed) {}
  // REQUIRES: an offset that is a multiple of 8; a seed of 32 bytes.
  void Apply(uint64_t offset, absl::Span<float> values);

 private:
  absl::string_view seed_;
  privacy::AesCtr stream_;
  std::vector<char> bytes_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_HADAMARD_H_
