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

// The next set of `size` indices below `count`, in lexicographic order. False: that was the last.
bool NextCombination(std::vector<size_t>& indices, size_t count) {
  const size_t size = indices.size();
  for (size_t i = size; i-- > 0;) {
    if (indices[i] + (size - i) < count) {
      ++indices[i];
      std::iota(indices.begin() + i + 1, indices.end(), indices[i] + 1);
      return true;
    }
  }
  return false;
}

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

absl::StatusOr<ShareRecovery::Recovered> ShareRecovery::Recover(
    const std::vector<ShamirShare>& shares,
    absl::FunctionRef<bool(absl::string_view secret)> fits) {
  if (shares.size() < threshold_) {
    return absl::FailedPreconditionError(
        absl::StrCat(shares.size(), " shares where ", threshold_, " are needed"));
  }
  for (const ShamirShare& share : shares) CSL_CHECK(share.holder < suspect_.size());
  // The most trusted first, so that what one secret taught is not tried again for the next.
  std::vector<ShamirShare> ordered = shares;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [this](const ShamirShare& a, const ShamirShare& b) {
                     return suspect_[a.holder] < suspect_[b.holder];
                   });
  // Of the first threshold + k shares, threshold that leave out k: each subset in the end, and
  // those that miss few of the trusted ones first.
  int attempts = 0;
  for (size_t pool = threshold_; pool <= ordered.size(); ++pool) {
    std::vector<size_t> chosen(threshold_ - 1);
    std::iota(chosen.begin(), chosen.end(), size_t{0});
    do {
      if (++attempts > kAttemptsMax) {
        return absl::DataLossError("no secret found in the shares tried");
      }
      std::vector<ShamirShare> subset;
      subset.reserve(threshold_);
      for (const size_t i : chosen) subset.push_back(ordered[i]);
      subset.push_back(ordered[pool - 1]);  // new with this pool: no subset comes up twice
      CSL_ASSIGN_OR_RETURN(privacy::SecretBytes secret, ShamirCombine(subset));
      if (!fits(secret.view())) continue;
      Recovered recovered{.secret = std::move(secret), .wrong = OffThePolynomial(shares, subset)};
      for (const size_t holder : recovered.wrong) ++suspect_[holder];
      return recovered;
    } while (NextCombination(chosen, pool - 1));
  }
  return absl::DataLossError("no secret fits in any of the shares");
}

}  // namespace consilium::secagg
