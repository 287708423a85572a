#include "privacy/dp/privacy_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "privacy/dp/normal.h"
#include "proto/base/check.h"

namespace consilium::dp {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kExponentMax = 600;  // e^600 is finite, and no mass above has a counterpart

// The pair (with, without): the mixture (1-q) N(0, s^2) + q N(1, s^2), and N(0, s^2).
class Pair {
 public:
  explicit Pair(const SampledGaussian& part)
      : q_(part.sampling_rate),
        s_(part.noise_multiplier),
        log_q_(std::log(q_)),
        log_p_(std::log1p(-q_)) {}

  // log(with(x) / without(x)); grows with x.
  double LogRatio(double x) const {
    const double t = (2 * x - 1) / (2 * s_ * s_);
    if (q_ == 1) return t;
    if (t > 30) return t + std::log(q_ + (1 - q_) * std::exp(-t));
    return std::log1p(q_ * std::expm1(t));
  }
  // The x of a log ratio; -infinity at and below the least one, log(1-q).
  double Outcome(double log_ratio) const {
    if (q_ == 1) return s_ * s_ * log_ratio + 0.5;
    if (log_ratio <= log_p_) return -kInfinity;
    return s_ * s_ * (log_ratio + std::log(-std::expm1(log_p_ - log_ratio)) - log_q_) + 0.5;
  }
  double MassWithout(double low, double high) const {
    return std::max(0.0, NormalBetween(low / s_, high / s_));
  }
  double MassWith(double low, double high) const {
    const double shifted = std::max(0.0, NormalBetween((low - 1) / s_, (high - 1) / s_));
    return (1 - q_) * MassWithout(low, high) + q_ * shifted;
  }

  double q() const { return q_; }
  double s() const { return s_; }

 private:
  double q_, s_, log_q_, log_p_;
};

struct Cells {
  double first = 0;  // index of the lowest grid point; a double, as it may be anything
  double last = 0;   // of the highest
};

// The grid points that enclose the losses of all but `tail` of the outcomes at either end.
Cells CellsOf(const Pair& pair, Neighbour neighbour, double grid, double tail) {
  const double width = NormalQuantileAbove(tail) * pair.s();
  Cells cells;
  if (neighbour == Neighbour::kRemove) {
    cells.first = std::floor(pair.LogRatio(-width) / grid);
    cells.last = std::ceil(pair.LogRatio(1 + width) / grid);
  } else {
    cells.first = std::floor(-pair.LogRatio(width) / grid);
    cells.last = std::ceil(-pair.LogRatio(-width) / grid);
  }
  cells.last = std::max(cells.last, cells.first + 1);
  return cells;
}

// Mass under P and Q of the outcomes whose loss is in (low, high].
struct CellMass {
  double p = 0;
  double q = 0;
};

CellMass MassOf(const Pair& pair, Neighbour neighbour, double low, double high) {
  if (neighbour == Neighbour::kRemove) {
    const double from = low == -kInfinity ? -kInfinity : pair.Outcome(low);
    const double to = high == kInfinity ? kInfinity : pair.Outcome(high);
    return {.p = pair.MassWith(from, to), .q = pair.MassWithout(from, to)};
  }
  const double from = high == kInfinity ? -kInfinity : pair.Outcome(-high);
  const double to = low == -kInfinity ? kInfinity : pair.Outcome(-low);
  return {.p = pair.MassWithout(from, to), .q = pair.MassWith(from, to)};
}

// Of a cell's mass, the part that goes to its upper end so that both masses are kept:
//   a + b = p, a e^{-low} + b e^{-(low + grid)} = q
double UpperPart(const CellMass& mass, double low, double grid) {
  if (low > kExponentMax || mass.q == 0) return mass.p;
  const double upper = (mass.p - std::exp(low) * mass.q) / -std::expm1(-grid);
  return std::clamp(upper, 0.0, mass.p);
}

}  // namespace

double LossDeviation(const SampledGaussian& part, Neighbour neighbour) {
  const Pair pair(part);
  constexpr int kPoints = 256;
  constexpr double kRange = 9;
  double weight = 0;
  double sum = 0;
  double squares = 0;
  for (const double centre : {0.0, 1.0}) {
    double share = centre == 0 ? 1 - pair.q() : pair.q();
    if (neighbour == Neighbour::kAdd) share = 1 - centre;
    if (share == 0) continue;
    for (int i = 0; i <= kPoints; ++i) {
      const double z = kRange * (2.0 * i / kPoints - 1);
      const double density = share * std::exp(-z * z / 2);
      const double loss = pair.LogRatio(centre + z * pair.s());
      weight += density;
      sum += density * loss;
      squares += density * loss * loss;
    }
  }
  const double mean = sum / weight;
  return std::sqrt(std::max(0.0, squares / weight - mean * mean));
}

double LossCells(const SampledGaussian& part, Neighbour neighbour, double grid, double tail) {
  const Cells cells = CellsOf(Pair(part), neighbour, grid, tail);
  return cells.last - cells.first;
}

PrivacyLoss DiscretiseLoss(const SampledGaussian& part, Neighbour neighbour, double grid,
                           double tail) {
  const Pair pair(part);
  const Cells cells = CellsOf(pair, neighbour, grid, tail);
  const auto count = static_cast<size_t>(cells.last - cells.first);
  CSL_CHECK(count >= 1);
  PrivacyLoss loss;
  loss.grid = grid;
  loss.first = static_cast<int64_t>(cells.first);
  loss.mass.assign(count + 1, 0.0);
  for (size_t i = 0; i < count; ++i) {
    const double low = grid * (cells.first + static_cast<double>(i));
    const double high = grid * (cells.first + static_cast<double>(i + 1));
    const CellMass mass = MassOf(pair, neighbour, low, high);
    const double upper = UpperPart(mass, low, grid);
    loss.mass[i] += mass.p - upper;
    loss.mass[i + 1] += upper;
  }
  loss.mass[0] += MassOf(pair, neighbour, -kInfinity, grid * cells.first).p;
  loss.infinite = MassOf(pair, neighbour, grid * cells.last, kInfinity).p;
  return loss;
}

}  // namespace consilium::dp
