// A personal value in the log, without the value: HMAC-SHA256(salt, value) with a salt of its own.
// Who holds salt and value can show what the entry meant; once the salt is deleted nobody can, and
// the tree still verifies (GDPR Article 17 beside the duty to keep records).
//
// Thread-safe functions.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_COMMITMENT_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_COMMITMENT_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

inline constexpr size_t kSaltBytes = 32;

struct Commitment {
  std::string salt;  // kSaltBytes, beside the log and never in it
  std::string hex;   // what the entry holds
};

// With a fresh random salt: two commitments to one value cannot be told for the same.
Commitment Commit(absl::string_view value);
std::string CommitmentHex(absl::string_view salt, absl::string_view value);
// INVALID_ARGUMENT: a salt that is not 32 bytes. PERMISSION_DENIED: `hex` is of another value.
absl::Status VerifyCommitment(absl::string_view salt, absl::string_view value,
                              absl::string_view hex);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_COMMITMENT_H_
