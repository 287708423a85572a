#include "privacy/secagg/shamir.h"

#include <utility>

#include "absl/status/status.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

constexpr size_t kHoldersMax = 255;

uint8_t X(size_t holder) { return static_cast<uint8_t>(holder + 1); }

absl::Status CheckShares(absl::Span<const ShamirShare> shares) {
  if (shares.empty()) return absl::InvalidArgumentError("no shares");
  std::vector<bool> seen(kHoldersMax, false);
  for (const ShamirShare& share : shares) {
    if (share.holder >= kHoldersMax || seen[share.holder]) {
      return absl::InvalidArgumentError("a holder of shares is out of range or there twice");
    }
    if (share.bytes.size() != shares.front().bytes.size()) {
      return absl::InvalidArgumentError("shares of different sizes");
    }
    seen[share.holder] = true;
  }
  return absl::OkStatus();
}

// Lagrange interpolation at `x`: sum of y_i * prod_{j != i} (x - x_j) / (x_i - x_j), where minus is
// plus is xor.
privacy::SecretBytes Interpolate(absl::Span<const ShamirShare> shares, uint8_t x) {
  privacy::SecretBytes value(shares.front().bytes.size());
  for (const ShamirShare& share : shares) {
    uint8_t numerator = 1;
    uint8_t denominator = 1;
    for (const ShamirShare& other : shares) {
      if (other.holder == share.holder) continue;
      numerator = GfMultiply(numerator, x ^ X(other.holder));
      denominator = GfMultiply(denominator, X(share.holder) ^ X(other.holder));
    }
    const uint8_t factor = GfMultiply(numerator, GfInverse(denominator));
    for (size_t i = 0; i < value.size(); ++i) {
      const auto y = static_cast<uint8_t>(share.bytes[i]);
      value.data()[i] = static_cast<char>(value.data()[i] ^ GfMultiply(y, factor));
    }
  }
  return value;
}

}  // namespace

uint8_t GfMultiply(uint8_t a, uint8_t b) {
  // No table and no branch: neither the cache nor the clock shows a factor.
  uint32_t product = 0;
  uint32_t shifted = a;
  for (int bit = 0; bit < 8; ++bit) {
    product ^= shifted & (0u - ((b >> bit) & 1u));
    shifted = (shifted << 1) ^ (0x11bu & (0u - (shifted >> 7)));
  }
  return static_cast<uint8_t>(product);
}

uint8_t GfInverse(uint8_t a) {
  // a^254 = a^(2 + 4 + 8 + 16 + 32 + 64 + 128)
  uint8_t square = GfMultiply(a, a);
  uint8_t result = square;
  for (int i = 0; i < 6; ++i) {
    square = GfMultiply(square, square);
    result = GfMultiply(result, square);
  }
  return result;
}

std::vector<privacy::SecretBytes> ShamirSplit(absl::string_view secret,
                                              absl::string_view coefficients, size_t threshold,
                                              size_t holders) {
  CSL_CHECK(1 <= threshold && threshold <= holders && holders <= kHoldersMax);
  CSL_CHECK(coefficients.size() == (threshold - 1) * secret.size());
  std::vector<privacy::SecretBytes> shares;
  shares.reserve(holders);
  for (size_t holder = 0; holder < holders; ++holder) {
    privacy::SecretBytes share(secret.size());
    for (size_t i = 0; i < secret.size(); ++i) {
      uint8_t value = 0;  // Horner's rule, from the highest power down to the secret
      for (size_t power = threshold - 1; power > 0; --power) {
        const auto coefficient =
            static_cast<uint8_t>(coefficients[(power - 1) * secret.size() + i]);
        value = GfMultiply(value ^ coefficient, X(holder));
      }
      share.data()[i] = static_cast<char>(value ^ static_cast<uint8_t>(secret[i]));
    }
    shares.push_back(std::move(share));
  }
  return shares;
}

absl::StatusOr<privacy::SecretBytes> ShamirCombine(absl::Span<const ShamirShare> shares) {
  CSL_RETURN_IF_ERROR(CheckShares(shares));
  return Interpolate(shares, 0);
}

absl::StatusOr<privacy::SecretBytes> ShamirShareAt(absl::Span<const ShamirShare> shares,
                                                   size_t holder) {
  CSL_RETURN_IF_ERROR(CheckShares(shares));
  if (holder >= kHoldersMax) return absl::InvalidArgumentError("a holder is out of range");
  return Interpolate(shares, X(holder));
}

}  // namespace consilium::secagg
