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
#include "privacy/dp/promise.h"

namespace consilium::coordinator {

// When a study is created: level site gets its noise_multiplier, if it has none. Nothing else
// changes, and a stored study keeps what it has. INVALID_ARGUMENT, with the number to write: the
// file's noise_multiplier is too small for (epsilon, delta), no noise is enough, or the words are
// too short for the noise (protection.clip).
absl::Status SettleNoise(StudySpec& spec);

// REQUIRES: level site, and SettleNoise. Errors: dp::MakePromise's.
absl::StatusOr<dp::PrivacyPromise> SitePromise(const StudySpec& spec, int64_t parameters);

// REQUIRES: level sample. Of a site with `patients` patients and `steps` steps in a round; it finds
// the least noise itself, as the site will. Takes up to a second. Errors: dp::MakePromise's.
absl::StatusOr<dp::PrivacyPromise> SamplePromise(const StudySpec& spec, int64_t parameters,
                                                 int64_t steps, int64_t patients);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_PRIVACY_H_
