// Random bytes from OpenSSL's generator, which the operating system seeds. Thread-safe.
#ifndef CONSILIUM_PRIVACY_CRYPTO_RANDOM_H_
#define CONSILIUM_PRIVACY_CRYPTO_RANDOM_H_

#include <cstddef>
#include <string>

#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

// Ends the process if the generator fails: no key may ever be made from anything less.
std::string RandomBytes(size_t count);
// For keys and seeds: a generator of its own, and bytes that are wiped.
SecretBytes RandomSecret(size_t count);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_RANDOM_H_
