// The keys that a site's home makes for itself.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_HOME_KEY_H_
#define CONSILIUM_SITE_AGENT_INTAKE_HOME_KEY_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::agent {

// HOME/`name`: random bytes, 0600, made at the first call. FAILED_PRECONDITION: others may read it, or
// it has another length. UNAVAILABLE: the disk.
absl::StatusOr<privacy::SecretBytes> LoadOrCreateHomeKey(const std::string& home,
                                                         const std::string& name, size_t bytes);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_HOME_KEY_H_
