// When to speak of a certificate that ends: at 30 and at 7 days, or at a third and at a twelfth of
// its lifetime where that is later, so that a short-lived one is not complained about all its life.
#ifndef CONSILIUM_PRIVACY_CRYPTO_EXPIRY_H_
#define CONSILIUM_PRIVACY_CRYPTO_EXPIRY_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::privacy {

inline constexpr absl::Duration kExpirySoon = absl::Hours(24 * 30);
inline constexpr absl::Duration kExpiryUrgent = absl::Hours(24 * 7);
inline constexpr absl::Duration kExpirySayEvery = absl::Hours(24);

enum class Expiry { kFar, kSoon, kUrgent, kOver };

// INVALID_ARGUMENT: no certificate.
absl::StatusOr<Expiry> ExpiryOf(absl::string_view certificate_pem, absl::Time now);

// Says each thing once a day. Thread-compatible.
class ExpiryWatch {
 public:
  // What is to be said of the certificate called `name` now; kFar: nothing. A change for the worse is
  // said at once. A text that is no certificate is not spoken of here.
  Expiry Due(const std::string& name, absl::string_view certificate_pem, absl::Time now);

 private:
  struct Said {
    Expiry what = Expiry::kFar;
    absl::Time when;
  };
  std::map<std::string, Said> said_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_CRYPTO_EXPIRY_H_
