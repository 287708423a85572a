// Random bytes from the operating system's generator through OpenSSL.
#ifndef CONSILIUM_PRIVACY_CRYPTO_RANDOM_H_
#define CONSILIUM_PRIVACY_CRYPTO_RANDOM_H_

#include <string>

namespace consilium::privacy {

// Ends the process if the generator fails: no key may ever be made from anything less.
std::string RandomBytes(size_t count);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_RANDOM_H_
