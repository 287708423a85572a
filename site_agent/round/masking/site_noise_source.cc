#include "site_agent/round/masking/site_noise_source.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "privacy/crypto/aes_ctr.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/dp/distributed.h"
#include "privacy/dp/random_stream.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr absl::string_view kKeyInfo = "consilium site noise v1";
constexpr double kClipMargin = 1 - 1e-6;    // for the rounding of scaled values to float
constexpr double kEpsilonSlack = 1 + 1e-6;  // the coordinator's sum may add up in another order
constexpr double kGridsToSigmaMin = 16;     // then discrete and continuous noise cost the same

// Rounding moves a vector by at most this many grid steps times sqrt(d).
double RoundingReach(secagg::Rounding rounding) {
  return rounding == secagg::Rounding::kNearest ? 0.5 : 1.0;
}

}  // namespace

SiteNoiseSource::SiteNoiseSource(double clip, privacy::SecretBytes key, dp::DiscreteGaussian noise)
    : clip_(clip), key_(std::move(key)), noise_(std::move(noise)) {}

absl::StatusOr<SiteNoiseSource> SiteNoiseSource::Create(const wire::Plan& plan,
                                                        const Session& session) {
  if (session.weight_max != 1) {
    return absl::InvalidArgumentError(absl::StrCat("a weight of ", session.weight_max,
                                                   ", but sites count alike under site noise"));
  }
  const secagg::Quantiser& quantiser = session.quantiser;
  dp::DistributedSetting setting;
  setting.mechanism = dp::DistributedMechanism::kDiscreteGaussian;
  setting.clip = plan.privacy.clip;
  setting.grid = quantiser.step() * static_cast<double>(quantiser.spec().divisor);
  setting.dimensions = static_cast<int64_t>(quantiser.padded_parameters());
  setting.sites = session.sites;
  setting.threshold = session.threshold;
  setting.noise_multiplier = plan.privacy.noise_multiplier;
  setting.rounds = plan.training.rounds;
  CSL_ASSIGN_OR_RETURN(const double epsilon, dp::DistributedEpsilon(setting, plan.privacy.delta));
  const double steps = dp::LocalSigma(setting) / setting.grid;
  if (!(epsilon <= plan.privacy.epsilon * kEpsilonSlack) || steps < kGridsToSigmaMin) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the noise of this round gives epsilon %.3g, and the plan promises %g",
                        epsilon, plan.privacy.epsilon));
  }
  const double rounding = RoundingReach(quantiser.spec().rounding) * setting.grid *
                          std::sqrt(static_cast<double>(setting.dimensions));
  const double bound =
      dp::RoundedSensitivity(setting.clip, setting.grid, setting.dimensions, setting.beta) -
      rounding;
  const double clip = std::min(setting.clip, bound) * kClipMargin;
  if (!(clip > 0)) {
    return absl::InvalidArgumentError("the quantiser's steps are too coarse for the clip bound");
  }
  CSL_ASSIGN_OR_RETURN(dp::DiscreteGaussian noise, dp::DiscreteGaussian::Create(steps));
  return SiteNoiseSource(clip, privacy::HkdfExtract("", session.rounding_seed), std::move(noise));
}

void SiteNoiseSource::Fill(uint64_t offset, absl::Span<int64_t> out) const {
  CSL_CHECK(offset % kBlockWords == 0);
  for (size_t done = 0; done < out.size(); done += kBlockWords) {
    char block[sizeof(uint64_t)];
    StoreLe64((offset + done) / kBlockWords, block);
    const absl::StatusOr<privacy::SecretBytes> key = privacy::HkdfExpand(
        key_.view(), absl::StrCat(kKeyInfo, absl::string_view(block, 8)), privacy::kAesCtrKeyBytes);
    CSL_CHECK(key.ok());
    dp::RandomStream random(*key);
    noise_.Sample(random, out.subspan(done, kBlockWords));
  }
}

}  // namespace consilium::agent
