// The keystream of AES-256 in counter mode (NIST SP 800-38A section 6.5), with a counter that
// starts at zero: a pseudorandom generator that can start anywhere.
#ifndef CONSILIUM_PRIVACY_CRYPTO_AES_CTR_H_
#define CONSILIUM_PRIVACY_CRYPTO_AES_CTR_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/openssl_handles.h"

namespace consilium::privacy {

inline constexpr size_t kAesCtrKeyBytes = 32;
inline constexpr size_t kAesCtrBlockBytes = 16;

// One key at a time, in one position. Wipes the key when it goes. Thread-compatible; not copyable.
class AesCtr {
 public:
  AesCtr();

  // Starts with another key, or in another place. REQUIRES: a key of 32 bytes and an offset that is
  // a multiple of 16.
  void Start(absl::string_view key, uint64_t byte_offset);
  // The next bytes of the stream. REQUIRES: Start before.
  void Read(absl::Span<char> out);

 private:
  CipherCtxPtr context_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_AES_CTR_H_
