// Key bytes that are wiped when they go. Move-only, so that no copy stays behind by accident.
//
// Thread-compatible. The bytes may still be paged out or appear in a core dump: the unit files in
// deploy/ switch both off.
#ifndef CONSILIUM_PRIVACY_CRYPTO_SECRET_BYTES_H_
#define CONSILIUM_PRIVACY_CRYPTO_SECRET_BYTES_H_

#include <cstddef>
#include <vector>

#include "absl/strings/string_view.h"

namespace consilium::privacy {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(absl::string_view bytes) : bytes_(bytes.begin(), bytes.end()) {}
  explicit SecretBytes(size_t size) : bytes_(size, 0) {}
  SecretBytes(SecretBytes&& other) noexcept;  // leaves `other` empty
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  absl::string_view view() const { return absl::string_view(bytes_.data(), bytes_.size()); }
  char* data() { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  SecretBytes Clone() const { return SecretBytes(view()); }

 private:
  void Wipe();
  std::vector<char> bytes_;
};

// Whether two secrets (tokens, tags) are equal, in a time that depends on their lengths only.
bool SecretsEqual(absl::string_view a, absl::string_view b);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_SECRET_BYTES_H_
