// From the change that a site trained to the masked, sealed file that may leave it.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKED_UPDATE_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKED_UPDATE_H_

#include "absl/status/statusor.h"
#include "proto/wire/tensor_map.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/masking/key_agreement.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/masking/metrics.h"
#include "site_agent/round/spool.h"
#include "site_agent/round/task_monitor.h"

namespace consilium::agent {

// Scales `update` down to the L2 norm `norm_max` (computed in double) where it is longer, and logs
// that; a control variate behind the model's tensors (update_seal.h) is left alone. 0: no bound. Says
// the factor: 1 where nothing was done.
double BoundNorm(wire::TensorMap& update, double norm_max);

// Waits for the key agreement, masks `update` and seals it into the spool, as the payload of
// privacy/secagg/payload.h; the plan's norm bound is applied first. The session is marked as used,
// and that is durable, before the first masked byte exists. The offer tells nothing of cases and
// losses.
//
// Privacy level site: the update is clipped to the plan's clip, this site's share of the noise is
// added to its words (site_noise_source.h), and the lanes hold the weight alone.
//
// Memory: the update, and about 16 MiB. Time: quantising and masking on MaskingSite::threads
// threads. Errors: KeyAgreement::AwaitReady; FAILED_PRECONDITION with the reason for the
// coordinator: words or values that do not fit the session; errors of the disk.
absl::StatusOr<FinishedTask> FinishMasked(const MaskingSite& site, const SiteTask& task,
                                          KeyAgreement& agreement, Spool& spool,
                                          wire::TensorMap update, const UpdateFacts& facts,
                                          TaskMonitor& monitor);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKED_UPDATE_H_
