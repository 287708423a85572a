// The noise that the privacy of a study needs, and what it costs (privacy/dp). Pure functions.
//
// Level site: sites add their shares of the noise to masked words of 32 bits, all with the weight 1
// and the public divisor n, so the grid is n steps of the quantiser. What is accounted for is the
// largest roster there can be and the fewest sites that can open a sum; sites divide the noise by
// the threshold of their own roster, so that more of them only add noise.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_PRIVACY_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_PRIVACY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/round/study.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {

// When a study is created: level site gets its noise_multiplier, if it has none. Nothing else
// changes, and a stored study keeps what it has. INVALID_ARGUMENT, with the number to write: the
// file's noise_multiplier is too small for (epsilon, delta), no noise is enough, or the words are
// too short for the noise (protection.clip).
absl::Status SettleNoise(StudySpec& spec);

// REQUIRES: level site. Epsilon that `spec`'s noise_multiplier gives at its delta over
// rounds.count.
absl::StatusOr<double> SiteEpsilon(const StudySpec& spec);
// REQUIRES: level site. How many times the noise in a round's mean is longer than an update of the
// length of the clip that all of min_sites agree on.
double SiteNoiseToSignal(const StudySpec& spec, int64_t parameters);

// What DP-SGD costs a site.
struct SampleCost {
  double noise_multiplier = 0;  // at most: by the Renyi bound, where sites account more tightly
  double noise_to_signal = 0;   // in one step, against clipped gradients that all agree
};
// REQUIRES: level sample. Of a site with `patients` patients and `steps` steps in the whole study.
// OUT_OF_RANGE: no noise keeps the budget. INVALID_ARGUMENT: fewer patients than patients_per_step.
absl::StatusOr<SampleCost> CostOfSample(const wire::PlanPrivacy& privacy, int64_t patients,
                                        int64_t steps, int64_t parameters);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_PRIVACY_H_
