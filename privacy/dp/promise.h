// What a study's privacy setting promises, to whom, and what it costs, in numbers and in words.
// Pure functions; thread-safe.
//
// A promise is of one study and of noise that is added as local_noise.h and distributed.h say. What
// a cohort spends in other studies is counted by its site's ledger (budget.h).
#ifndef CONSILIUM_PRIVACY_DP_PROMISE_H_
#define CONSILIUM_PRIVACY_DP_PROMISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/dp/distributed.h"

namespace consilium::dp {

enum class PrivacyLevel {
  kNone,    // contributions may be clipped; nothing is noised
  kSample,  // a patient of a site, by DP-SGD there
  kSite,    // a site, by shares of noise in the masked lanes
};

struct StudyPrivacy {
  PrivacyLevel level = PrivacyLevel::kNone;
  double epsilon = 0;           // wanted; 0 where noise_multiplier is given
  double delta = 0;             // 0: DefaultDelta of the number of units
  double clip = 0;              // L2 bound of a unit's contribution; 0 (kNone only): none
  double noise_multiplier = 0;  // 0: the least that keeps epsilon
  int64_t rounds = 0;
  int64_t parameters = 0;  // that are trained and sent
  int64_t sites = 0;
  // kSample only.
  int64_t patients = 0;  // of the smallest site, whose sampling rate is the highest
  int64_t batch = 0;     // patients expected in a step; the public divisor
  int64_t steps = 0;     // of a site in a round
  // kSite only.
  int64_t threshold = 0;  // survivors whose sum secure aggregation opens
  DistributedMechanism mechanism = DistributedMechanism::kDiscreteGaussian;
};

struct PrivacyPromise {
  bool guaranteed = false;
  std::string mechanism;  // "DP-SGD (...)", or empty
  std::string unit;       // "patient", "site", or empty
  double epsilon = 0;     // of the whole study, at most what was wanted
  double delta = 0;
  double clip = 0;
  double noise_multiplier = 0;
  double sampling_rate = 1;
  int64_t releases = 0;    // steps of a site, or rounds
  double grid = 0;         // kSite: the rounding of an update
  double local_sigma = 0;  // kSite: the noise that one site adds, in units of the update
  // Length of the noise over the largest length of what it hides, in one released step or round,
  // and of the sums over the study and its sites if all that is hidden pointed the same way.
  double noise_to_signal = 0;
  double noise_to_signal_study = 0;
  std::vector<std::string> warnings;
};

// INVALID_ARGUMENT: a number that the level needs is missing, out of range, or contradicts another.
// OUT_OF_RANGE: no noise is enough.
absl::StatusOr<PrivacyPromise> MakePromise(const StudyPrivacy& study);

// A few lines for a terminal, each ended. A study without noise gets the words "no guarantee".
std::string PromiseText(const PrivacyPromise& promise);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_PROMISE_H_
