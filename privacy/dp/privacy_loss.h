// The distribution of the privacy loss of one step, on a grid. Internal to the PLD accountant.
// Plain values and pure functions; thread-safe.
//
// The loss of outcome x is log(P(x)/Q(x)), x ~ P, where P is what the mechanism returns with a
// record and Q without it (kRemove), or the other way round (kAdd). Each cell of the grid keeps its
// mass under P and under Q and is represented by its two ends, which is the least pessimistic pair
// on the grid that dominates the true one ("connect the dots": Doroshenko et al. 2022,
// arXiv:2207.04380). What is cut off at the top becomes mass at infinity.
#ifndef CONSILIUM_PRIVACY_DP_PRIVACY_LOSS_H_
#define CONSILIUM_PRIVACY_DP_PRIVACY_LOSS_H_

#include <cstdint>
#include <vector>

#include "privacy/dp/sampled_gaussian.h"

namespace consilium::dp {

enum class Neighbour { kRemove, kAdd };

struct PrivacyLoss {
  double grid = 0;    // distance of two losses
  int64_t first = 0;  // mass[i] is at loss grid * (first + i)
  std::vector<double> mass;
  double infinite = 0;  // mass at loss infinity
};

// Standard deviation of the loss of one step; good to a few percent. `part` passed CheckPart and
// its sampling rate is above 0, here and below.
double LossDeviation(const SampledGaussian& part, Neighbour neighbour);

// How many cells DiscretiseLoss would make: possibly more than there is memory for.
double LossCells(const SampledGaussian& part, Neighbour neighbour, double grid, double tail);

// One step of `part`. `tail`, in (0, 1/2): mass that may be moved upwards at either end.
PrivacyLoss DiscretiseLoss(const SampledGaussian& part, Neighbour neighbour, double grid,
                           double tail);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_PRIVACY_LOSS_H_
