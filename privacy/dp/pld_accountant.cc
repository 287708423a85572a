#include "privacy/dp/pld_accountant.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/dp/fft.h"
#include "proto/base/status.h"

namespace consilium::dp {
namespace {

using Complex = std::complex<double>;

// What may be added to the variance of the loss by the grid, relative to it: half of that is the
// relative error of epsilon, roughly.
constexpr double kVarianceGrowth = 1e-4;
constexpr double kGridMax = 5e-3;
constexpr double kTailMass = 1e-12;  // at either end, of all steps together
constexpr double kCellsMax = 1 << 22;
constexpr size_t kFftSizeMax = size_t{1} << 21;

double Steps(absl::Span<const SampledGaussian> parts) {
  double steps = 0;
  for (const SampledGaussian& part : parts) steps += static_cast<double>(part.steps);
  return steps;
}

// A grid that adds grid^2 / 6 to the variance of each step.
double ChooseGrid(absl::Span<const SampledGaussian> parts, Neighbour neighbour) {
  double variance = 0;
  for (const SampledGaussian& part : parts) {
    const double deviation = LossDeviation(part, neighbour);
    variance += static_cast<double>(part.steps) * deviation * deviation;
  }
  // The second bound is for losses that are nearly always tiny and rarely large. Below the last,
  // all is rounding error, and any grid shows that it is nothing.
  const double grid = std::min(std::sqrt(6 * kVarianceGrowth * variance / Steps(parts)),
                               std::max(kGridMax, 1e-3 * std::sqrt(variance)));
  return std::max(grid, 1e-12);
}

// log of E[e^{lambda L}; L finite] of one step.
double LogMoment(const PrivacyLoss& loss, double lambda) {
  const double decay = std::exp(-std::abs(lambda) * loss.grid);
  double sum = 0;
  const size_t count = loss.mass.size();
  // Horner's rule towards the end where the exponential is largest.
  for (size_t i = 0; i < count; ++i) {
    sum = sum * decay + loss.mass[lambda > 0 ? i : count - 1 - i];
  }
  const int64_t end = lambda > 0 ? loss.first + static_cast<int64_t>(count) - 1 : loss.first;
  return lambda * loss.grid * static_cast<double>(end) + std::log(sum);
}

class Composer {
 public:
  Composer(absl::Span<const SampledGaussian> parts, Neighbour neighbour, double grid)
      : parts_(parts), grid_(grid) {
    const double tail = kTailMass / Steps(parts);
    for (const SampledGaussian& part : parts) {
      losses_.push_back(DiscretiseLoss(part, neighbour, grid, tail));
    }
  }

  // nullopt: the grid is too fine for kFftSizeMax.
  std::optional<PrivacyLoss> Compose() const {
    const double from = std::floor(Bound(-1) / grid_) - 1;
    const double to = std::ceil(Bound(1) / grid_) + 1;
    if (to - from >= static_cast<double>(kFftSizeMax)) return std::nullopt;
    size_t size = 2;
    while (static_cast<double>(size) <= to - from) size *= 2;
    PrivacyLoss total;
    total.grid = grid_;
    total.first = static_cast<int64_t>(from);
    total.mass = Convolve(size, total.first);
    // Tails of both ends are within the window now, wrapped around; the upper one would be too low.
    total.infinite = kTailMass;
    for (size_t i = 0; i < parts_.size(); ++i) {
      total.infinite += static_cast<double>(parts_[i].steps) * losses_[i].infinite;
    }
    total.infinite += Steps(parts_) * std::log2(size) * 0x1p-52;
    return total;
  }

 private:
  // A loss that the sum passes, upwards (side 1) or downwards (side -1), with a probability of at
  // most kTailMass: min over lambda of (log E e^{lambda L} - log kTailMass) / lambda.
  double Bound(double side) const {
    double end = 0;
    double variance = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const PrivacyLoss& loss = losses_[i];
      const auto last = static_cast<double>(loss.mass.size() - 1);
      const double steps = static_cast<double>(parts_[i].steps);
      end += steps * grid_ * (static_cast<double>(loss.first) + (side > 0 ? last : 0));
      double sum = 0;
      double squares = 0;
      for (size_t k = 0; k < loss.mass.size(); ++k) {
        const double value = grid_ * (static_cast<double>(loss.first) + static_cast<double>(k));
        sum += value * loss.mass[k];
        squares += value * value * loss.mass[k];
      }
      variance += steps * std::max(0.0, squares - sum * sum);
    }
    const double start = std::sqrt(-2 * std::log(kTailMass) / std::max(variance, grid_ * grid_));
    double best = end * side;  // no sum of finite losses is beyond
    for (const double factor : {1.5, 1 / 1.5}) {
      double lambda = factor > 1 ? start : start * factor;
      for (double last = HUGE_VAL; lambda * grid_ < 30; lambda *= factor) {
        const double bound = BoundAt(side * lambda);
        best = std::min(best, bound);
        if (!(bound < last)) break;  // the bound is quasi-convex
        last = bound;
      }
    }
    return best * side;
  }

  double BoundAt(double lambda) const {
    double log_moment = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      log_moment += static_cast<double>(parts_[i].steps) * LogMoment(losses_[i], lambda);
    }
    return (log_moment - std::log(kTailMass)) / std::abs(lambda);
  }

  // The mass of the sum at grid * (first + i), i < size, modulo size.
  std::vector<double> Convolve(size_t size, int64_t first) const {
    const Fft fft(size);
    const int64_t modulus = static_cast<int64_t>(size);
    std::vector<Complex> product(size / 2 + 1, Complex(1, 0));
    std::vector<Complex> buffer(size);
    int64_t offset = 0;  // of the sum's index 0 in the product, modulo size
    for (size_t i = 0; i < parts_.size(); ++i) {
      std::fill(buffer.begin(), buffer.end(), Complex(0, 0));
      for (size_t k = 0; k < losses_[i].mass.size(); ++k) buffer[k % size] += losses_[i].mass[k];
      fft.Forward(absl::MakeSpan(buffer));
      const double steps = static_cast<double>(parts_[i].steps);
      for (size_t k = 0; k < product.size(); ++k) {
        const double scale = std::pow(std::abs(buffer[k]), steps);
        product[k] *= std::polar(scale, std::arg(buffer[k]) * steps);
      }
      offset = (offset + (losses_[i].first % modulus) * (parts_[i].steps % modulus)) % modulus;
    }
    for (size_t k = 0; k < product.size(); ++k) {
      buffer[k] = product[k];
      if (k > 0) buffer[size - k] = std::conj(product[k]);
    }
    fft.Inverse(absl::MakeSpan(buffer));
    std::vector<double> mass(size);
    for (size_t i = 0; i < size; ++i) {
      const int64_t index = (first + static_cast<int64_t>(i) - offset) % modulus;
      mass[i] = std::max(0.0, buffer[static_cast<size_t>((index + modulus) % modulus)].real());
    }
    return mass;
  }

  absl::Span<const SampledGaussian> parts_;
  double grid_;
  std::vector<PrivacyLoss> losses_;
};

PrivacyLoss ComposeDirection(absl::Span<const SampledGaussian> parts, Neighbour neighbour) {
  // Coarser is more pessimistic, and always possible in the end.
  for (double grid = ChooseGrid(parts, neighbour);; grid *= 2) {
    double cells = 0;
    for (const SampledGaussian& part : parts) {
      cells += LossCells(part, neighbour, grid, kTailMass / Steps(parts));
    }
    if (cells > kCellsMax) continue;
    if (auto loss = Composer(parts, neighbour, grid).Compose(); loss.has_value()) {
      return *std::move(loss);
    }
  }
}

// delta(epsilon) = infinite + sum_{loss > epsilon} mass (1 - e^{epsilon - loss}), summed from the
// top; between two grid points it is above - e^epsilon * scaled.
class DeltaCurve {
 public:
  explicit DeltaCurve(const PrivacyLoss& loss)
      : loss_(loss),
        decay_(std::exp(-loss.grid)),
        index_(loss.mass.size()),
        above_(loss.infinite) {}

  // Takes the next grid point downwards into the sums; false at the end.
  bool Next() {
    if (index_ == 0) return false;
    --index_;
    above_ += loss_.mass[index_];
    scaled_ = scaled_ * decay_ + loss_.mass[index_];
    return true;
  }
  // The loss taken last.
  double epsilon() const {
    return loss_.grid * static_cast<double>(loss_.first + static_cast<int64_t>(index_));
  }
  // delta at the next grid point downwards.
  double DeltaBelow() const { return above_ - decay_ * scaled_; }
  // delta at `at`, not above the loss taken last and not below the next one.
  double DeltaAt(double at) const { return above_ - std::exp(at - epsilon()) * scaled_; }
  // Where delta is `target`, in the same range.
  double EpsilonAt(double target) const {
    return epsilon() + std::log((above_ - target) / scaled_);
  }

 private:
  const PrivacyLoss& loss_;
  double decay_;
  size_t index_;
  double above_;
  double scaled_ = 0;  // sum of mass e^{epsilon() - loss}
};

// nullopt: none.
std::optional<double> EpsilonOf(const PrivacyLoss& loss, double delta) {
  if (loss.infinite >= delta) return std::nullopt;
  DeltaCurve curve(loss);
  bool found = false;
  while (!found && curve.Next()) {
    found = curve.DeltaBelow() > delta;
    if (!found && curve.epsilon() <= 0) return 0.0;
  }
  if (loss.mass.empty()) return 0.0;
  const double epsilon = curve.EpsilonAt(delta);
  return epsilon > 0 ? epsilon : 0.0;  // also where it is no number: delta exceeds all mass
}

double DeltaOf(const PrivacyLoss& loss, double epsilon) {
  DeltaCurve curve(loss);
  double delta = loss.infinite;
  while (curve.Next() && curve.epsilon() > epsilon) delta = curve.DeltaAt(epsilon);
  return std::clamp(delta, 0.0, 1.0);
}

}  // namespace

PldAccountant::PldAccountant(PrivacyLoss remove, PrivacyLoss add)
    : remove_(std::move(remove)), add_(std::move(add)) {}

absl::StatusOr<PldAccountant> PldAccountant::Compose(absl::Span<const SampledGaussian> parts) {
  CSL_ASSIGN_OR_RETURN(const std::vector<SampledGaussian> merged, MergeParts(parts));
  if (merged.empty()) return PldAccountant(PrivacyLoss{}, PrivacyLoss{});
  return PldAccountant(ComposeDirection(merged, Neighbour::kRemove),
                       ComposeDirection(merged, Neighbour::kAdd));
}

absl::StatusOr<double> PldAccountant::Epsilon(double delta) const {
  CSL_RETURN_IF_ERROR(CheckDelta(delta));
  const std::optional<double> remove = EpsilonOf(remove_, delta);
  const std::optional<double> add = EpsilonOf(add_, delta);
  if (!remove.has_value() || !add.has_value()) {
    return absl::OutOfRangeError(absl::StrCat("delta ", delta,
                                              " is below the resolution of the privacy loss, ",
                                              std::max(remove_.infinite, add_.infinite)));
  }
  return std::max(*remove, *add);
}

absl::StatusOr<double> PldAccountant::Delta(double epsilon) const {
  if (!(epsilon >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("epsilon ", epsilon, ": negative"));
  }
  return std::max(DeltaOf(remove_, epsilon), DeltaOf(add_, epsilon));
}

absl::StatusOr<double> EpsilonByPld(absl::Span<const SampledGaussian> parts, double delta) {
  CSL_ASSIGN_OR_RETURN(const PldAccountant accountant, PldAccountant::Compose(parts));
  return accountant.Epsilon(delta);
}

}  // namespace consilium::dp
