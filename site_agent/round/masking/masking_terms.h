// What a coordinator wants of a masked update, checked against the study's plan: the plan is what
// the site's people agreed to, the terms are only that plan for one round.
//
// Pure functions.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKING_TERMS_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKING_TERMS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/quantise.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

struct CheckedTerms {
  secagg::Job job;
  secagg::QuantiserSpec quantiser;
};
// The job of a masked TRAIN task of this federation. INVALID_ARGUMENT: no terms or no masking plan;
// a job that is not FEDERATION/STUDY; bits, clip or min_cohort that are not the plan's; a quantiser
// that does not parse or asks for a metric that is none of ours (MetricNames); a weight that is
// none, more than the announced divisor, or of no unit.
absl::StatusOr<CheckedTerms> CheckMaskingTerms(const SiteTask& task, absl::string_view federation);

// INVALID_ARGUMENT: the plan reveals the sums of groups, and `sites` are more than a group of
// `group` sites and a remainder too small to be a group of its own.
absl::Status CheckGroup(const wire::PlanProtection& protection, size_t sites);

// INVALID_ARGUMENT: a vector of `parameters` values does not have the words of the job.
absl::Status CheckWords(const CheckedTerms& terms, uint64_t parameters);

// Units of weight of an update from `trained` of the `reported` cases that could be trained on.
// What a case without a label counts is the study's business and not in the plan; the coordinator's
// weight_max counts it, for the cohort that the site reported. So the weight is weight_max where
// all those were trained on, and in proportion less, but never 0, where some could not be read.
uint32_t UpdateWeight(const MaskingTerms& terms, int64_t trained, int64_t reported);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKING_TERMS_H_
