// A site's share of the noise under privacy level site: integers that are added to its quantised
// update before it is masked, so that the sum, and nothing less, is private
// (privacy/dp/distributed.h).
//
// The noise of a session can be made again: it comes from the session's rounding seed, word by
// word, so that a payload that is masked again after a restart is the same one. The seed is secret
// and goes with the session.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_SITE_NOISE_SOURCE_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_SITE_NOISE_SOURCE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/dp/discrete_noise.h"
#include "privacy/secagg/quantise.h"
#include "proto/wire/plan.h"

namespace consilium::agent {

// Immutable; thread-safe.
class SiteNoiseSource {
 public:
  static constexpr uint64_t kBlockWords = 16 * 1024;

  struct Session {
    const secagg::Quantiser& quantiser;
    int64_t weight_max = 0;           // of this site's update; 1 for all of them
    int64_t sites = 0;                // of the roster
    int64_t threshold = 0;            // the fewest of them whose sum is opened
    absl::string_view rounding_seed;  // 32 secret bytes of this site and session
  };
  // INVALID_ARGUMENT: this site does not count as 1, so that others may count less and add less
  // noise; or, with the grid and the roster of this session, the noise does not keep the plan's
  // (epsilon, delta) over its rounds.
  static absl::StatusOr<SiteNoiseSource> Create(const wire::Plan& plan, const Session& session);

  // The L2 norm to which the update is to be clipped: a little under the plan's clip, so that what
  // the quantiser's rounding adds stays within the sensitivity that is accounted for.
  double clip() const { return clip_; }

  // The noise of words [offset, offset + out.size()). REQUIRES: offset is a multiple of
  // kBlockWords.
  void Fill(uint64_t offset, absl::Span<int64_t> out) const;

 private:
  SiteNoiseSource(double clip, privacy::SecretBytes key, dp::DiscreteGaussian noise);

  double clip_;
  privacy::SecretBytes key_;
  dp::DiscreteGaussian noise_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_SITE_NOISE_SOURCE_H_
