// CONSENT and REVEAL: what a site says so that the sum of a round's masked updates can be opened,
// and nothing but that sum.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_UNMASK_TASK_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_UNMASK_TASK_H_

#include "absl/status/statusor.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/spool.h"

namespace consilium::agent {

// Agrees to the survivors, once and for ever for this round and model, and signs it. A repetition
// says the same again. FAILED_PRECONDITION, with the reason that declines the task, recorded in the
// site's own log: no such update of this site, a survivor set that it must not agree to, or another
// one than it agreed to before. Errors of the disk: nothing was signed that is not recorded.
absl::StatusOr<FinishedTask> RunConsent(const MaskingSite& site, const SiteTask& task);

// Gives this site's shares, after a threshold of the survivors has consented. A site that was not
// asked for its consent before gives it first, by the same rules. Errors as RunConsent; and
// consents that are too few, not to this set, or not signed by their sites.
absl::StatusOr<FinishedTask> RunReveal(const MaskingSite& site, const SiteTask& task);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_UNMASK_TASK_H_
