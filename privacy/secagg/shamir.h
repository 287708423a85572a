// Shamir's secret sharing, byte by byte over GF(2^8) with x^8 + x^4 + x^3 + x + 1 (0x11B).
// Shamir 1979, "How to share a secret". Field arithmetic takes the same time whatever the values.
//
// The share of the holder with index i is the polynomial's value at x = i + 1. Thread-safe.
#ifndef CONSILIUM_PRIVACY_SECAGG_SHAMIR_H_
#define CONSILIUM_PRIVACY_SECAGG_SHAMIR_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::secagg {

uint8_t GfMultiply(uint8_t a, uint8_t b);
uint8_t GfInverse(uint8_t a);  // 0 for 0

// `coefficients` are threshold - 1 pieces of secret.size() random bytes: those of x, of x^2, ...
// Returns `holders` shares of secret.size() bytes. REQUIRES: 1 <= threshold <= holders <= 255.
std::vector<privacy::SecretBytes> ShamirSplit(absl::string_view secret,
                                              absl::string_view coefficients, size_t threshold,
                                              size_t holders);

struct ShamirShare {
  size_t holder = 0;  // index, from 0
  absl::string_view bytes;
};

// The secret that these shares lie on a polynomial with; all of them are used, so give as many as
// the threshold. INVALID_ARGUMENT: none, two of one holder, a holder beyond 254, sizes that differ.
absl::StatusOr<privacy::SecretBytes> ShamirCombine(absl::Span<const ShamirShare> shares);
// The share of `holder` on the polynomial through `shares`. Errors as ShamirCombine.
absl::StatusOr<privacy::SecretBytes> ShamirShareAt(absl::Span<const ShamirShare> shares,
                                                   size_t holder);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_SHAMIR_H_
