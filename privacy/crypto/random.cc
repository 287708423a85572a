#include "privacy/crypto/random.h"

#include <openssl/rand.h>

#include <climits>

#include "proto/base/check.h"

namespace consilium::privacy {

std::string RandomBytes(size_t count) {
  CSL_CHECK(count <= INT_MAX);
  std::string bytes(count, '\0');
  CSL_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) ==
            1);
  return bytes;
}

SecretBytes RandomSecret(size_t count) {
  CSL_CHECK(count <= INT_MAX);
  SecretBytes bytes(count);
  CSL_CHECK(RAND_priv_bytes(reinterpret_cast<unsigned char*>(bytes.data()),
                            static_cast<int>(count)) == 1);
  return bytes;
}

}  // namespace consilium::privacy
