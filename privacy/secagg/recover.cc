#include "privacy/secagg/recover.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

// The subsets of `size` of [0, count), each once: first those of the first `size`, then those with
// the next index and some of the ones before it, and so on.
class SubsetsByTrust {
 public:
  SubsetsByTrust(size_t size, size_t count) : count_(count), current_(size) {
    std::iota(current_.begin(), current_.end(), size_t{0});
  }
  const std::vector<size_t>& Current() const { return current_; }
  // False: that was the last.
  bool Next() {
    // The last index stands for the pool; the others are a combination of those below it.
    const size_t pool = current_.back();
    const size_t size = current_.size() - 1;
    for (size_t i = size; i-- > 0;) {
      if (current_[i] + (size - i) < pool) {
        std::iota(current_.begin() + i, current_.end() - 1, current_[i] + 1);
        return true;
      }
    }
    if (pool + 1 == count_) return false;
    std::iota(current_.begin(), current_.end() - 1, size_t{0});
    current_.back() = pool + 1;
    return true;
  }

 private:
  size_t count_;
  std::vector<size_t> current_;
};

// The holders whose shares do not lie on the polynomial through `good`.
std::vector<size_t> OffThePolynomial(const std::vector<ShamirShare>& shares,
                                     const std::vector<ShamirShare>& good) {
  std::vector<size_t> wrong;
  for (const ShamirShare& share : shares) {
    const auto expected = ShamirShareAt(good, share.holder);
    CSL_CHECK(expected.ok());
    if (!privacy::SecretsEqual(expected->view(), share.bytes)) wrong.push_back(share.holder);
  }
  std::sort(wrong.begin(), wrong.end());
  return wrong;
}

}  // namespace

std::vector<ShamirShare> ShareRecovery::Ordered(const std::vector<ShamirShare>& shares) const {
  std::vector<ShamirShare> ordered = shares;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [this](const ShamirShare& a, const ShamirShare& b) {
                     return suspect_[a.holder] < suspect_[b.holder];
                   });
  return ordered;
}

absl::StatusOr<ShareRecovery::Recovered> ShareRecovery::Recover(
    const std::vector<ShamirShare>& shares,
    absl::FunctionRef<bool(absl::string_view secret)> fits) {
  if (shares.size() < threshold_) {
    return absl::FailedPreconditionError(
        absl::StrCat(shares.size(), " shares where ", threshold_, " are needed"));
  }
  for (const ShamirShare& share : shares) CSL_CHECK(share.holder < suspect_.size());
  const size_t certain_max = (shares.size() - threshold_) / 2;
  const std::vector<ShamirShare> ordered = Ordered(shares);
  const int attempts_max = std::min(kAttemptsMax, kAttemptsOfRoundMax - attempts_);
  std::optional<Recovered> best;
  SubsetsByTrust subsets(threshold_, ordered.size());
  for (int attempt = 0; attempt < attempts_max; ++attempt, ++attempts_) {
    std::vector<ShamirShare> subset;
    subset.reserve(threshold_);
    for (const size_t i : subsets.Current()) subset.push_back(ordered[i]);
    CSL_ASSIGN_OR_RETURN(privacy::SecretBytes secret, ShamirCombine(subset));
    if (fits(secret.view())) {
      std::vector<size_t> wrong = OffThePolynomial(shares, subset);
      if (!best.has_value() || wrong.size() < best->wrong.size()) {
        best.emplace(Recovered{.secret = std::move(secret), .wrong = std::move(wrong)});
      }
      if (best->wrong.size() <= certain_max) break;
    }
    if (!subsets.Next()) break;
  }
  if (!best.has_value()) return absl::DataLossError("no secret that fits in the shares tried");
  for (const size_t holder : best->wrong) ++suspect_[holder];
  return *std::move(best);
}

}  // namespace consilium::secagg
