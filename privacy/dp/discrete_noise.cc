#include "privacy/dp/discrete_noise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/dp/block_sampler.h"
#include "privacy/dp/poisson_log.h"

namespace consilium::dp {
namespace {

// Blocks of a quarter of a standard deviation; single integers where that is less than one.
int64_t BlockWidth(double sigma) { return std::max<int64_t>(1, std::llround(sigma / 4)); }

class GaussianTarget {
 public:
  // Products of numbers with 53 bits, then e^-x of x < 4: an error below 2^-50, of which this is
  // 500 times.
  static constexpr uint64_t kMargin = uint64_t{1} << 22;

  explicit GaussianTarget(double sigma) : sigma_(sigma), factor_(0.5 / sigma / sigma) {}

  double Log(int64_t y) const { return -static_cast<double>(y) * static_cast<double>(y) * factor_; }
  Wide LogWide(int64_t y) const {
    const Wide scaled = static_cast<Wide>(y) / sigma_;
    return -scaled * scaled / 2;
  }
  double Drop(const Block& block, int64_t y) const {
    return static_cast<double>(y - block.edge) * static_cast<double>(y + block.edge) * factor_;
  }
  int64_t lowest() const { return std::numeric_limits<int64_t>::min() / 2; }

 private:
  double sigma_;
  double factor_;
};

// A Poisson value less the mode, relative to the probability of the mode.
class PoissonTarget {
 public:
  // Sums of numbers up to 10^3 with 53 bits: an error of 10^-12 at most, of which this is 100
  // times.
  static constexpr uint64_t kMargin = uint64_t{1} << 30;

  explicit PoissonTarget(double lambda)
      : mode_(static_cast<int64_t>(lambda)),
        lambda_(lambda),
        log_lambda_(std::log(lambda)),
        log_two_pi_(std::log(2 * M_PI)),
        log_lambda_wide_(WideLog(lambda)) {
    // 2 pi with 113 bits, as the sum of two doubles and a rest.
    const Wide two_pi =
        Wide(2 * M_PI) + Wide(2.4492935982947064e-16) + Wide(-5.989539619436679e-33);
    log_two_pi_wide_ = WideLog(two_pi);
    log_mode_ = Absolute(mode_);
    log_mode_wide_ = AbsoluteWide(mode_);
  }

  double Log(int64_t y) const { return Absolute(mode_ + y) - log_mode_; }
  Wide LogWide(int64_t y) const { return AbsoluteWide(mode_ + y) - log_mode_wide_; }
  double Drop(const Block& block, int64_t y) const { return block.log_edge - Log(y); }
  int64_t lowest() const { return -mode_; }
  int64_t mode() const { return mode_; }

 private:
  double Absolute(int64_t k) const {
    return PoissonLog<double>(k, lambda_, log_lambda_, log_two_pi_);
  }
  Wide AbsoluteWide(int64_t k) const {
    return PoissonLog<Wide>(k, lambda_, log_lambda_wide_, log_two_pi_wide_);
  }

  int64_t mode_;
  double lambda_;
  double log_lambda_;
  double log_two_pi_;
  Wide log_lambda_wide_;
  Wide log_two_pi_wide_ = 0;
  double log_mode_ = 0;
  Wide log_mode_wide_ = 0;
};

}  // namespace

struct DiscreteGaussian::Rep {
  BlockSampler<GaussianTarget> sampler;
};

DiscreteGaussian::DiscreteGaussian(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
DiscreteGaussian::DiscreteGaussian(DiscreteGaussian&&) noexcept = default;
DiscreteGaussian& DiscreteGaussian::operator=(DiscreteGaussian&&) noexcept = default;
DiscreteGaussian::~DiscreteGaussian() = default;

absl::StatusOr<DiscreteGaussian> DiscreteGaussian::Create(double sigma) {
  if (!(sigma >= kGridSigmaMin && sigma <= kGaussianSigmaMax)) {
    return absl::InvalidArgumentError(absl::StrCat("noise of ", sigma, " grid steps: not in [",
                                                   kGridSigmaMin, ", ", kGaussianSigmaMax, "]"));
  }
  return DiscreteGaussian(std::make_unique<Rep>(
      Rep{BlockSampler<GaussianTarget>(GaussianTarget(sigma), BlockWidth(sigma))}));
}

void DiscreteGaussian::Sample(RandomStream& random, absl::Span<int64_t> out) const {
  for (int64_t& value : out) value = rep_->sampler.Draw(random);
}

struct Skellam::Rep {
  BlockSampler<PoissonTarget> sampler;
};

Skellam::Skellam(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Skellam::Skellam(Skellam&&) noexcept = default;
Skellam& Skellam::operator=(Skellam&&) noexcept = default;
Skellam::~Skellam() = default;

absl::StatusOr<Skellam> Skellam::Create(double variance) {
  if (!(variance >= kGridSigmaMin * kGridSigmaMin && variance <= kSkellamVarianceMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("noise variance of ", variance, " grid steps squared: not in [",
                     kGridSigmaMin * kGridSigmaMin, ", ", kSkellamVarianceMax, "]"));
  }
  const double lambda = variance / 2;
  return Skellam(std::make_unique<Rep>(
      Rep{BlockSampler<PoissonTarget>(PoissonTarget(lambda), BlockWidth(std::sqrt(lambda)))}));
}

void Skellam::Sample(RandomStream& random, absl::Span<int64_t> out) const {
  // Both values are relative to the same mode, which cancels.
  for (int64_t& value : out) value = rep_->sampler.Draw(random) - rep_->sampler.Draw(random);
}

}  // namespace consilium::dp
