#include "privacy/dp/rdp_accountant.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "privacy/dp/normal.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSeriesTolerance = 1e-16;
constexpr int64_t kSeriesTermsMax = int64_t{1} << 20;

// A sum of signed terms of which only the logarithms are in range.
class LogSum {
 public:
  void Add(double log_term, double factor) {
    if (log_term == -kInfinity) return;
    if (log_term > scale_) {
      sum_ *= std::exp(scale_ - log_term);
      scale_ = log_term;
    }
    sum_ += factor * std::exp(log_term - scale_);
  }
  void Add(const LogSum& other) { Add(other.scale_, other.sum_); }
  double log() const { return scale_ == -kInfinity ? -kInfinity : scale_ + std::log(sum_); }
  // Whether terms of this size no longer change the sum.
  bool Negligible(double log_term) const {
    return log_term - scale_ < std::log(kSeriesTolerance * std::max(sum_, kSeriesTolerance));
  }

 private:
  double scale_ = -kInfinity;
  double sum_ = 0;
};

// log(E[...^a] - 1) for an integer order: the terms k = 0 and 1 of the binomial sum and the 1 of
// the others cancel exactly, so a divergence far below 1e-16 keeps its digits.
double LogMomentLessOne(double q, double s, double order) {
  LogSum sum;
  const double log_q = std::log(q);
  const double log_p = std::log1p(-q);
  double log_binomial = std::log(order);
  for (double k = 2; k <= order; ++k) {
    log_binomial += std::log((order - k + 1) / k);
    const double exponent = (k * k - k) / (2 * s * s);
    const double log_growth = exponent > 30 ? exponent : std::log(std::expm1(exponent));
    sum.Add(log_binomial + (order - k) * log_p + k * log_q + log_growth, 1);
  }
  return sum.log();
}

// log E[...^a] for any order. The integral is split where both summands of the mixture are equal,
// so that each binomial series is of a ratio below 1.
double LogMomentFractional(double q, double s, double order) {
  const double split = s * s * (std::log1p(-q) - std::log(q)) + 0.5;
  const double log_q = std::log(q);
  const double log_p = std::log1p(-q);
  const double width = M_SQRT2 * s;
  LogSum below;
  LogSum above;
  double log_binomial = 0;
  double sign = 1;
  for (int64_t i = 0; i < kSeriesTermsMax; ++i) {
    const double k = static_cast<double>(i);
    const double j = order - k;
    const double log_below = log_binomial + k * log_q + j * log_p + (k * k - k) / (2 * s * s) +
                             LogErfc((k - split) / width) - M_LN2;
    const double log_above = log_binomial + j * log_q + k * log_p + (j * j - j) / (2 * s * s) +
                             LogErfc((split - j) / width) - M_LN2;
    // From here on the signs alternate and the terms fall smoothly, like k^-(order + 2): half of
    // the last one leaves an error of the size of their difference.
    const double log_change = std::log((order + 2) / (k + 1));
    const bool last = k > order + 1 && below.Negligible(log_below + log_change) &&
                      above.Negligible(log_above + log_change);
    below.Add(log_below, last ? sign / 2 : sign);
    above.Add(log_above, last ? sign / 2 : sign);
    if (last) break;
    log_binomial += std::log(std::abs(j) / (k + 1));
    if (j < 0) sign = -sign;
  }
  below.Add(above);
  return below.log();
}

double DivergenceOfOneStep(double q, double s, double order) {
  if (q == 0) return 0;
  if (q == 1) return order / (2 * s * s);
  if (order == std::floor(order)) {
    const double log_rest = LogMomentLessOne(q, s, order);
    const double log_moment = log_rest > 30 ? log_rest : std::log1p(std::exp(log_rest));
    return log_moment / (order - 1);
  }
  // A moment is at least 1; below is rounding.
  return std::max(0.0, LogMomentFractional(q, s, order)) / (order - 1);
}

std::vector<double> MakeDefaultOrders() {
  std::vector<double> orders;
  for (int i = 11; i < 110; ++i) orders.push_back(i / 10.0);
  for (int i = 11; i <= 64; ++i) orders.push_back(i);
  for (int i = 128; i <= 1024; i *= 2) orders.push_back(i);
  return orders;
}

absl::Status CheckOrder(double order) {
  if (order > 1 && order <= kOrderMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("Renyi order ", order, ": not above 1"));
}

}  // namespace

absl::Span<const double> DefaultOrders() {
  static const auto* const orders = new std::vector<double>(MakeDefaultOrders());
  return *orders;
}

absl::StatusOr<double> RenyiDivergence(const SampledGaussian& part, double order) {
  CSL_RETURN_IF_ERROR(CheckPart(part));
  CSL_RETURN_IF_ERROR(CheckOrder(order));
  return static_cast<double>(part.steps) *
         DivergenceOfOneStep(part.sampling_rate, part.noise_multiplier, order);
}

absl::StatusOr<RdpEpsilon> EpsilonFromDivergence(absl::Span<const double> orders,
                                                 absl::Span<const double> divergences,
                                                 double delta) {
  CSL_RETURN_IF_ERROR(CheckDelta(delta));
  if (orders.empty() || orders.size() != divergences.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(orders.size(), " orders, ", divergences.size(), " divergences"));
  }
  RdpEpsilon best{.epsilon = kInfinity};
  for (size_t i = 0; i < orders.size(); ++i) {
    const double order = orders[i];
    CSL_RETURN_IF_ERROR(CheckOrder(order));
    if (!(divergences[i] >= 0)) {
      return absl::InvalidArgumentError(absl::StrCat("divergence ", divergences[i]));
    }
    const double epsilon =
        divergences[i] + std::log1p(-1 / order) - (std::log(delta) + std::log(order)) / (order - 1);
    if (epsilon < best.epsilon) best = {.epsilon = epsilon, .order = order};
  }
  best.epsilon = std::max(0.0, best.epsilon);
  return best;
}

absl::StatusOr<RdpEpsilon> EpsilonByRdp(absl::Span<const SampledGaussian> parts, double delta,
                                        absl::Span<const double> orders) {
  CSL_ASSIGN_OR_RETURN(const std::vector<SampledGaussian> merged, MergeParts(parts));
  CSL_RETURN_IF_ERROR(CheckDelta(delta));
  if (merged.empty()) return RdpEpsilon{.epsilon = 0, .order = orders.empty() ? 0 : orders.back()};
  std::vector<double> divergences(orders.size(), 0.0);
  for (const SampledGaussian& part : merged) {
    for (size_t i = 0; i < orders.size(); ++i) {
      CSL_ASSIGN_OR_RETURN(const double divergence, RenyiDivergence(part, orders[i]));
      divergences[i] += divergence;
    }
  }
  return EpsilonFromDivergence(orders, divergences, delta);
}

}  // namespace consilium::dp
