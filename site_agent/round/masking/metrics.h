// What sites tell of a masked update, as sums over sites only: each in its lane of the masked
// vector. The list is fixed; a coordinator cannot ask for anything else.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_METRICS_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_METRICS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

// What there is to say of one update.
struct UpdateFacts {
  int64_t labelled_cases = 0;  // trained on
  int64_t unlabelled_cases = 0;
  int64_t reported_cases = 0;  // that could have been trained on
  TrainingSummary summary;
  double saturated = 0;  // share of the values that were cut off at the clip bound
};

// loss, supervised_loss, consistency_loss, teacher_certainty, pseudo_foreground, saturated,
// labelled_cases, unlabelled_cases, steps.
bool IsMetric(absl::string_view name);
// The values of `names`, each of which IsMetric, as a lane holds them: what is negative or not a
// number is 0, what is above secagg::kMetricMax is that.
std::vector<double> MetricValues(absl::Span<const std::string> names, const UpdateFacts& facts);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_METRICS_H_
