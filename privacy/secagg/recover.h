// Secrets from shares of which some may be wrong.
#ifndef CONSILIUM_PRIVACY_SECAGG_RECOVER_H_
#define CONSILIUM_PRIVACY_SECAGG_RECOVER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secagg/shamir.h"

namespace consilium::secagg {

// A share that does not lie on the polynomial of its secret: `holder` revealed what it was not
// given, or `owner` dealt it wrongly. Who has many wrong shares with different partners is to
// blame; of a single one, the two sites' word stands against each other.
struct WrongShare {
  std::string holder;
  std::string owner;

  friend bool operator==(const WrongShare&, const WrongShare&) = default;
};

// Recovers one round's secrets one after the other, and tries holders last whose shares were wrong
// before. Thread-compatible.
//
// Liars who act together can make some shares give the right secret and still not lie with the
// honest ones. So, while the wrong shares are more than half of those beyond the threshold, others
// are tried, and the fewest wrong ones count: with up to that half, they are the liars' for
// certain.
//
// Time: one interpolation for a secret whose shares are right. Otherwise other subsets are tried:
// up to kAttemptsMax for a secret, which are all for 20 holders and any two liars of 200.
class ShareRecovery {
 public:
  static constexpr int kAttemptsMax = 40'000;
  static constexpr int kAttemptsOfRoundMax = 100'000;

  ShareRecovery(size_t threshold, size_t holders) : threshold_(threshold), suspect_(holders, 0) {}

  struct Recovered {
    privacy::SecretBytes secret;
    std::vector<size_t> wrong;  // holders, ascending
  };
  // The secret of which `fits` is true. FAILED_PRECONDITION: fewer shares than the threshold.
  // DATA_LOSS: no threshold of shares has it, or not within the attempts allowed.
  absl::StatusOr<Recovered> Recover(const std::vector<ShamirShare>& shares,
                                    absl::FunctionRef<bool(absl::string_view secret)> fits);

 private:
  // Those of `shares` in the order in which they are trusted.
  std::vector<ShamirShare> Ordered(const std::vector<ShamirShare>& shares) const;

  size_t threshold_;
  int attempts_ = 0;          // of the whole round
  std::vector<int> suspect_;  // by holder: wrong shares so far
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_RECOVER_H_
