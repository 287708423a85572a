#include "privacy/transparency/commitment.h"

#include "absl/strings/str_cat.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {

Commitment Commit(absl::string_view value) {
  Commitment commitment{.salt = RandomBytes(kSaltBytes), .hex = ""};
  commitment.hex = CommitmentHex(commitment.salt, value);
  return commitment;
}

std::string CommitmentHex(absl::string_view salt, absl::string_view value) {
  return HexEncode(HmacSha256(salt, value));
}

absl::Status VerifyCommitment(absl::string_view salt, absl::string_view value,
                              absl::string_view hex) {
  if (salt.size() != kSaltBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("salt: ", salt.size(), " bytes, not ", kSaltBytes));
  }
  if (!SecretsEqual(CommitmentHex(salt, value), hex)) {
    return absl::PermissionDeniedError("the commitment is to another value");
  }
  return absl::OkStatus();
}

}  // namespace consilium::privacy
