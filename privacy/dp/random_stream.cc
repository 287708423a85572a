#include "privacy/dp/random_stream.h"

#include "privacy/crypto/random.h"
#include "privacy/dp/test_random_stream.h"

namespace consilium::dp {

RandomStream::RandomStream() : RandomStream(privacy::RandomSecret(privacy::kAesCtrKeyBytes)) {}

RandomStream::RandomStream(const privacy::SecretBytes& key) : buffer_(kBufferBytes) {
  generator_.Start(key.view(), 0);
}

void RandomStream::Refill() {
  generator_.Read({buffer_.data(), buffer_.size()});
  position_ = 0;
}

RandomStream SeededRandomStream(uint64_t seed) {
  privacy::SecretBytes key(privacy::kAesCtrKeyBytes);
  std::memcpy(key.data(), &seed, sizeof(seed));
  return RandomStream(key);
}

}  // namespace consilium::dp
