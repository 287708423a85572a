// SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104). The functions are thread-safe.
#ifndef CONSILIUM_PRIVACY_CRYPTO_SHA256_H_
#define CONSILIUM_PRIVACY_CRYPTO_SHA256_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

inline constexpr size_t kSha256Bytes = 32;

std::string Sha256(absl::string_view data);                             // 32 bytes
std::string Sha256Hex(absl::string_view data);                          // 64 lower-case hex digits
std::string HmacSha256(absl::string_view key, absl::string_view data);  // 32 bytes

// SHA-256 of the parts as if they were joined, into 32 bytes at `out`. Keeps one context per thread:
// for hash trees, where looking the algorithm up would cost more than the hash.
void Sha256Join(std::initializer_list<absl::string_view> parts, uint8_t* out);

// SHA-256 of data that arrives in pieces. Thread-compatible.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;
  void Update(absl::string_view data);
  std::string Finish();  // 32 bytes; the stream is then empty and may start again
 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

// Digest of a file, read in 1 MiB pieces; lower-case hex. NOT_FOUND and the other errors of
// proto/base/file.h; OUT_OF_RANGE: the file was cut while it was read.
absl::StatusOr<std::string> Sha256HexOfFile(const std::string& path);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_SHA256_H_
